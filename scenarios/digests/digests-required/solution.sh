# The bouncer, for Pods.
kubectl apply -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata:
  name: image-policy
  namespace: default
data:
  policy.yaml: |
    apiVersion: bouncer.supply-chain/v1alpha1
    kind: ImagePolicy
    registries:
      allowed: [docker.io, registry.k8s.io]
    digests:
      required: true
YAML

# Gatekeeper, for Deployments.
kubectl apply -f - <<'YAML'
apiVersion: templates.gatekeeper.sh/v1
kind: ConstraintTemplate
metadata:
  name: k8srequireddigests
spec:
  crd:
    spec:
      names:
        kind: K8sRequiredDigests
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package k8srequireddigests

        containers[container] {
          container := input.review.object.spec.template.spec.containers[_]
        }

        containers[container] {
          container := input.review.object.spec.template.spec.initContainers[_]
        }

        violation[{"msg": msg}] {
          container := containers[_]
          not regex.match("@sha256:[0-9a-f]{64}$", container.image)
          msg := sprintf("container %v is not named by digest: %v", [container.name, container.image])
        }
YAML
kubectl wait --for=jsonpath='{.status.created}'=true --timeout=60s constrainttemplate/k8srequireddigests
kubectl wait --for=create --timeout=60s crd/k8srequireddigests.constraints.gatekeeper.sh
kubectl wait --for=condition=Established --timeout=60s crd/k8srequireddigests.constraints.gatekeeper.sh
# Refused by each of Gatekeeper's Pods that has not heard of the template yet.
until kubectl apply -f - <<'YAML'
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sRequiredDigests
metadata:
  name: deployment-digests
spec:
  match:
    kinds:
      - apiGroups: ["apps"]
        kinds: ["Deployment"]
YAML
do sleep 0.2; done

# CEL, for CronJobs.
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
        .all(c, c.image.matches('@sha256:[0-9a-f]{64}$'))
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

# The kubelet brings the new file into the Pod, and the bouncer says when it holds.
until [[ "$(kubectl logs deployment/image-bouncer-webhook)" == *policy-reloaded* ]]; do
  sleep 0.2
done
