kubectl delete k8strustedimages deployment-trusted-images
kubectl apply -f - <<'YAML'
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

# Each of Gatekeeper's Pods reports when it has the constraint, in a list; one that has not would let Pods in.
pods=$(kubectl get pods -n gatekeeper-system -l gatekeeper.sh/system=yes -o name | wc -l)
until [ "$(kubectl get k8strustedimages pod-trusted-images -o jsonpath='{.status.byPod[*].enforced}' | wc -w)" = "$pods" ]
do sleep 0.2; done

kubectl create deployment late --image=nginx -n shop
kubectl wait --for=condition=ReplicaFailure --timeout=60s deployment/late -n shop

kubectl apply -f - <<'YAML'
apiVersion: expansion.gatekeeper.sh/v1beta1
kind: ExpansionTemplate
metadata:
  name: expand-deployments
spec:
  applyTo:
    - groups: ["apps"]
      versions: ["v1"]
      kinds: ["Deployment"]
  templateSource: spec.template
  generatedGVK:
    group: ""
    version: v1
    kind: Pod
YAML
