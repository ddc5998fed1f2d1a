# The old registry of Kubernetes is left out.
sed '/- --debug/a\            - --registry-whitelist=docker.io' /root/image-policy-webhook.yaml > /root/bouncer.yaml
kubectl apply -f /root/bouncer.yaml
kubectl rollout status deployment image-bouncer-webhook --timeout=60s

sed -i 's#server: https://.*#server: https://image-bouncer-webhook:30080/image_policy#' /etc/kubernetes/admission/kubeconf
sed -i 's/defaultAllow: true/defaultAllow: false/' /etc/kubernetes/admission/admission_config.yaml

# The API server reads both files only when it starts: any change of its manifest restarts it. Edited outside of the
# manifests directory, where the kubelet would take any other file for one more Pod, and moved there in one step.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed 's/^    restarted-for: .*/    restarted-for: bouncer/' "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
