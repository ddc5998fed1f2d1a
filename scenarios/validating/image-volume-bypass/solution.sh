# The same bouncer, asked about the whole Pod.
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
        path: /validate
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

# The same rule without anybody to ask. A volume of another kind has no field image.
kubectl apply -f - <<'YAML'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: trusted-image-volumes
spec:
  matchConstraints:
    resourceRules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [pods]
  validations:
    - expression: >-
        !has(object.spec.volumes) || object.spec.volumes.all(volume, !has(volume.image) ||
        ["docker.io/", "k8s.gcr.io/"].exists(registry, volume.image.reference.startsWith(registry)))
      message: image volumes must come from docker.io or k8s.gcr.io
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: trusted-image-volumes
spec:
  policyName: trusted-image-volumes
  validationActions: [Deny]
  matchResources:
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: In
          values: [by-policy]
YAML
