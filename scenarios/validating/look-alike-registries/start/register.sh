# A certificate that vouches for itself: caBundle holds it, and nobody else has to trust it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
  -subj /CN=registry-bouncer -addext subjectAltName=DNS:registry-bouncer.image-policy.svc \
  -keyout registry-bouncer.key -out registry-bouncer.crt
kubectl -n image-policy create secret tls registry-bouncer-tls --cert=registry-bouncer.crt --key=registry-bouncer.key
kubectl -n image-policy rollout status deployment registry-bouncer --timeout=60s

kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: trusted-registries
webhooks:
  - name: trusted-registries.example.com
    clientConfig:
      service:
        namespace: image-policy
        name: registry-bouncer
        path: /validate
        port: 443
      caBundle: $(base64 -w0 registry-bouncer.crt)
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: [by-bouncer]
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [pods]
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
YAML
