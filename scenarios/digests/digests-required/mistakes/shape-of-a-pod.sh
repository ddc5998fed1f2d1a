# The rule looks for the containers where a Pod has them. A Deployment has none there.
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
          container := input.review.object.spec.containers[_]
        }

        containers[container] {
          container := input.review.object.spec.initContainers[_]
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
