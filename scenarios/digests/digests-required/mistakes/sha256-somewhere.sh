# A tag may hold the word, too.
kubectl apply -f - <<'YAML'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: cronjob-digests
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
      - apiGroups: [batch]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [cronjobs]
  variables:
    - name: pod
      expression: object.spec.jobTemplate.spec.template.spec
  validations:
    - expression: >-
        (variables.pod.containers + variables.pod.?initContainers.orValue([]))
        .all(c, c.image.contains('sha256'))
      message: every image must be named by digest
YAML
kubectl apply -f - <<'YAML'
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: cronjob-digests
spec:
  policyName: cronjob-digests
  validationActions: [Deny]
YAML
