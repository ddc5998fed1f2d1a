kubectl create -f /root/gatekeeper.yaml
kubectl rollout status deployment/gatekeeper-controller-manager -n gatekeeper-system --timeout=120s
kubectl rollout status deployment/gatekeeper-audit -n gatekeeper-system --timeout=120s

kubectl apply -f /root/first-template.yaml
# Refused until the kind is served, and by each of Gatekeeper's Pods that has not heard of the template yet.
until kubectl apply -f /root/first-constraint.yaml; do sleep 0.5; done
