# A common name is no longer a server's name, and the signer does not sign such a request.
cd ~/bouncer
openssl ecparam -name prime256v1 -genkey -noout -out server-key.pem
openssl req -new -key server-key.pem -out server.csr \
  -subj "/O=system:nodes/CN=system:node:image-bouncer-webhook.default.pod.cluster.local"

kubectl apply -f - <<YAML
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata:
  name: image-bouncer-webhook.default
spec:
  request: $(base64 -w0 server.csr)
  signerName: kubernetes.io/kubelet-serving
  usages:
    - digital signature
    - key encipherment
    - server auth
YAML
kubectl certificate approve image-bouncer-webhook.default
kubectl wait csr/image-bouncer-webhook.default --for=condition=Failed --timeout=30s
