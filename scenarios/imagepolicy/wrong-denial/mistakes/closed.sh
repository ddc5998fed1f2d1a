# The Pod is kept out now. So is every other one whenever the webhook is down, and nobody reads why this one was denied.
sed -i 's/defaultAllow: true/defaultAllow: false/' /etc/kubernetes/admission/admission_config.yaml

# The API server reads the file only when it starts: any change of its manifest restarts it. Edited outside of the
# manifests directory, where the kubelet would take any other file for one more Pod, and moved there in one step.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed '/^  annotations:/a\    restarted-for: closed' "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
