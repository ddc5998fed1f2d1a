# The volume with the token of the ServiceAccount, which every Pod gets, has no field image.
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
        !has(object.spec.volumes) || object.spec.volumes.all(volume,
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

# The API server takes a policy up within a second or so; only then is the mistake made.
timeout 30 bash -c 'while kubectl run plain --namespace=by-policy --image=docker.io/library/nginx --dry-run=server; do :; done'
