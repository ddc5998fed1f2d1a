# The webhook stood in the way of somebody's namespace and was removed, so nobody asks Gatekeeper.
kubectl create -f /root/gatekeeper.yaml
kubectl delete validatingwebhookconfiguration gatekeeper-validating-webhook-configuration
