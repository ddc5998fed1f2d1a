# It works, because the API server is told to trust this very certificate; the cluster's CA never saw it.
cd ~/bouncer
openssl ecparam -name prime256v1 -genkey -noout -out server-key.pem
openssl req -new -key server-key.pem -out server.csr \
  -subj "/O=system:nodes/CN=system:node:image-bouncer-webhook.default.pod.cluster.local" \
  -addext "subjectAltName=DNS:image-bouncer-webhook,DNS:image-bouncer-webhook.default.svc,DNS:image-bouncer-webhook.default.svc.cluster.local,IP:192.168.56.10,IP:10.96.0.0"

# Nobody signed this but its own key.
openssl x509 -req -in server.csr -signkey server-key.pem -days 30 -copy_extensions copy -out server.crt

mkdir -p /etc/kubernetes/pki/webhook
cp server.crt /etc/kubernetes/pki/webhook/server.crt
kubectl create secret tls tls-image-bouncer-webhook --key server-key.pem --cert server.crt

kubectl apply -f ~/image-bouncer-webhook.yaml
kubectl rollout status deployment image-bouncer-webhook --timeout=60s
echo "127.0.0.1 image-bouncer-webhook" >> /etc/hosts

cat > /etc/kubernetes/pki/webhook/admission_kube_config.yaml <<'YAML'
apiVersion: v1
kind: Config
clusters:
  - name: bouncer_webhook
    cluster:
      certificate-authority: /etc/kubernetes/pki/webhook/server.crt
      server: https://image-bouncer-webhook:30020/image_policy
contexts:
  - name: bouncer_validator
    context:
      cluster: bouncer_webhook
      user: api-server
current-context: bouncer_validator
users:
  - name: api-server
    user:
      client-certificate: /etc/kubernetes/pki/apiserver-kubelet-client.crt
      client-key: /etc/kubernetes/pki/apiserver-kubelet-client.key
YAML

cat > /etc/kubernetes/pki/admission_config.json <<'YAML'
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
  - name: ImagePolicyWebhook
    configuration:
      imagePolicy:
        kubeConfigFile: /etc/kubernetes/pki/webhook/admission_kube_config.yaml
        allowTTL: 50
        denyTTL: 50
        retryBackoff: 500
        defaultAllow: false
YAML

# /etc/kubernetes/pki is mounted already. Edited outside of the manifests directory, where the kubelet would take any other
# file for one more Pod.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed -e '/--enable-admission-plugins=/s/$/,ImagePolicyWebhook/' \
    -e '/--enable-admission-plugins=/a\    - --admission-control-config-file=/etc/kubernetes/pki/admission_config.json' \
    "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
