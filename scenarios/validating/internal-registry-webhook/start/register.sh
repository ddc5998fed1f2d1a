# A certificate that vouches for itself: caBundle holds it, and nobody else has to trust it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
  -subj /CN=internal-registry-webhook -addext subjectAltName=DNS:internal-registry-webhook.image-policy.svc \
  -keyout webhook.key -out webhook.crt
kubectl -n image-policy create secret tls internal-registry-webhook-tls --cert=webhook.crt --key=webhook.key
kubectl -n image-policy rollout status deployment internal-registry-webhook --timeout=60s

kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: internal-registry
webhooks:
  - name: internal-registry.example.com
    clientConfig:
      service:
        namespace: image-policy
        name: internal-registry-webhook
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
