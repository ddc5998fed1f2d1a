# The API server asks, and there is no Pod to answer.
kubectl create -f /root/gatekeeper.yaml
kubectl scale deployment/gatekeeper-controller-manager -n gatekeeper-system --replicas=0
