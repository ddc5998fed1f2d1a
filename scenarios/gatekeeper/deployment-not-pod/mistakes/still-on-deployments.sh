# Another name, and still the kind whose containers the rule does not find.
kubectl delete k8strustedimages deployment-trusted-images
kubectl apply -f - <<'YAML'
apiVersion: constraints.gatekeeper.sh/v1beta1
kind: K8sTrustedImages
metadata:
  name: pod-trusted-images
spec:
  match:
    kinds:
      - apiGroups: ["apps"]
        kinds: ["Deployment"]
YAML

pods=$(kubectl get pods -n gatekeeper-system -l gatekeeper.sh/system=yes -o name | wc -l)
until [ "$(kubectl get k8strustedimages pod-trusted-images -o jsonpath='{.status.byPod[*].enforced}' | wc -w)" = "$pods" ]
do sleep 0.2; done
