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
for pod in $(seq $((pods - 1)) -1 0); do
  kubectl wait --for=jsonpath="{.status.byPod[$pod].enforced}"=true --timeout=60s k8strustedimages/pod-trusted-images
done
kubectl create deployment late --image=nginx -n shop
kubectl wait --for=condition=ReplicaFailure --timeout=60s deployment/late -n shop
