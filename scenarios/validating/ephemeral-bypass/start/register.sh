# A certificate that vouches for itself: caBundle holds it, and nobody else has to trust it.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
  -subj /CN=strict-bouncer -addext subjectAltName=DNS:strict-bouncer.image-policy.svc \
  -keyout strict-bouncer.key -out strict-bouncer.crt
kubectl -n image-policy create secret tls strict-bouncer-tls --cert=strict-bouncer.crt --key=strict-bouncer.key
kubectl -n image-policy rollout status deployment strict-bouncer --timeout=60s

kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: strict-images
webhooks:
  - name: strict-images.example.com
    clientConfig:
      service:
        namespace: image-policy
        name: strict-bouncer
        path: /validate
        port: 443
      caBundle: $(base64 -w0 strict-bouncer.crt)
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
