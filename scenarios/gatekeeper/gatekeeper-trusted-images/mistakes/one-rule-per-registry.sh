# Two rules are an "or" of violations: each registry is denied by the rule of the other.
kubectl apply -f - <<'YAML'
apiVersion: templates.gatekeeper.sh/v1beta1
kind: ConstraintTemplate
metadata:
  name: k8strustedimages
spec:
  crd:
    spec:
      names:
        kind: K8sTrustedImages
  targets:
    - target: admission.k8s.gatekeeper.sh
      rego: |
        package k8strustedimages

        violation[{"msg": msg}] {
          image := input.review.object.spec.containers[_].image
          not startswith(image, "docker.io/")
          msg := "not trusted image!"
        }

        violation[{"msg": msg}] {
          image := input.review.object.spec.containers[_].image
          not startswith(image, "k8s.gcr.io/")
          msg := "not trusted image!"
        }
YAML
kubectl wait --for=jsonpath='{.status.created}'=true --timeout=60s constrainttemplate/k8strustedimages
kubectl wait --for=create --timeout=60s crd/k8strustedimages.constraints.gatekeeper.sh
kubectl wait --for=condition=Established --timeout=60s crd/k8strustedimages.constraints.gatekeeper.sh

# Refused by each of Gatekeeper's Pods that has not heard of the template yet.
until kubectl apply -f - <<'YAML'
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sTrustedImages
metadata:
  name: pod-trusted-images
spec:
  match:
    kinds:
      - apiGroups: [""]
        kinds: ["Pod"]
YAML
do sleep 0.2; done
