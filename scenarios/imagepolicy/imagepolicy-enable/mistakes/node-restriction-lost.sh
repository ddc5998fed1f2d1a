# The flag holds the whole list: NodeRestriction, which was in it, is replaced.
cat > /etc/kubernetes/admission/kubeconf <<'YAML'
apiVersion: v1
kind: Config
clusters:
  - name: image-checker
    cluster:
      certificate-authority: /etc/kubernetes/admission/external-cert.pem
      server: https://image-bouncer-webhook:30080/check-image
contexts:
  - name: image-checker
    context:
      cluster: image-checker
      user: api-server
current-context: image-checker
users:
  - name: api-server
    user:
      client-certificate: /etc/kubernetes/admission/apiserver-client-cert.pem
      client-key: /etc/kubernetes/admission/apiserver-client-key.pem
YAML

cat > /etc/kubernetes/admission/admission_config.yaml <<'YAML'
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ImagePolicyWebhook
    configuration:
      imagePolicy:
        kubeConfigFile: /etc/kubernetes/admission/kubeconf
        allowTTL: 50
        denyTTL: 50
        retryBackoff: 500
        defaultAllow: false
YAML

# Edited outside of the manifests directory, where the kubelet would take any other file for one more Pod, and moved
# there in one step.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed -e '/--enable-admission-plugins=/s/=.*/=ImagePolicyWebhook/' \
    -e '/--enable-admission-plugins=/a\    - --admission-control-config-file=/etc/kubernetes/admission/admission_config.yaml' \
    -e '/^    volumeMounts:/a\    - mountPath: /etc/kubernetes/admission\n      name: k8s-admission\n      readOnly: true' \
    -e '/^  volumes:/a\  - hostPath:\n      path: /etc/kubernetes/admission\n      type: DirectoryOrCreate\n    name: k8s-admission' \
    "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
