# Pods are denied, and whoever creates a Deployment does not hear of it.
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

pods=$(kubectl get pods -n gatekeeper-system -l gatekeeper.sh/system=yes -o name | wc -l)
until [ "$(kubectl get k8strustedimages pod-trusted-images -o jsonpath='{.status.byPod[*].enforced}' | wc -w)" = "$pods" ]
do sleep 0.2; done
kubectl create deployment late --image=nginx -n shop
kubectl wait --for=condition=ReplicaFailure --timeout=60s deployment/late -n shop
