# At this path the bouncer takes ImageReviews, and an AdmissionReview is none.
kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: image-volumes
webhooks:
  - name: image-volumes.example.com
    clientConfig:
      service:
        namespace: default
        name: image-bouncer-webhook
        path: /check-image
        port: 443
      caBundle: $(base64 -w0 /etc/kubernetes/admission/external-cert.pem)
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: [by-webhook]
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [pods]
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
YAML
