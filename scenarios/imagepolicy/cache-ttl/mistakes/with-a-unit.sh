# A duration as people write it, where the API server takes a bare number of seconds.
sed -i -e 's/allowTTL: .*/allowTTL: 1s/' -e 's/denyTTL: .*/denyTTL: 1s/' /etc/kubernetes/admission/admission_config.yaml

# The API server reads the file only when it starts: any change of its manifest restarts it. Edited outside of the
# manifests directory, where the kubelet would take any other file for one more Pod, and moved there in one step.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed '/^  annotations:/a\    restarted-for: ttl' "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
