# The certificate is there, and the API server asks a webhook that does not exist; so far, it lets everything in.
kubectl create secret tls tls-image-bouncer-webhook \
  --cert=/run/lab/certificates/image-bouncer-webhook.crt --key=/run/lab/certificates/image-bouncer-webhook.key
sed -i 's#server: https://.*#server: https://external-service:1234/check-image#' /etc/kubernetes/admission/kubeconf

manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed '/^  annotations:/a\    restarted-for: external-service' "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
