# What an earlier attempt has built, and loaded in either of containerd's namespaces.
rm -f ~/webhook/Dockerfile ~/webhook/*.tar ~/*.tar
for namespace in k8s.io default; do
  ctr --namespace "$namespace" images ls --quiet 2>/dev/null | grep '/image-policy-webhook:' |
    xargs -r ctr --namespace "$namespace" images rm --sync || true
done

cd ~
# A certificate that vouches for itself: caBundle holds it, and nobody else has to trust it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
  -subj /CN=image-policy-webhook -addext subjectAltName=DNS:image-policy-webhook.image-policy.svc \
  -keyout webhook.key -out webhook.crt
kubectl -n image-policy create secret tls tls-secret --cert=webhook.crt --key=webhook.key

cat > ~/validating-webhook-configuration.yaml <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: image-policy-webhook
webhooks:
  - name: image-policy.example.com
    clientConfig:
      service:
        namespace: image-policy
        name: image-policy-webhook
        path: /validate
        port: 443
      caBundle: $(base64 -w0 webhook.crt)
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: NotIn
          values: [image-policy, kube-system]
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [pods]
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
YAML
