# A policy says what is wrong; only a binding says where, and what follows.
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
YAML
