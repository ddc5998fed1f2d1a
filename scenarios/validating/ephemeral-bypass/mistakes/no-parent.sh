# Without the resource that it belongs to, the name of a subresource fits nothing.
kubectl patch validatingwebhookconfiguration strict-images --type=json \
  -p '[{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["pods", "ephemeralcontainers"]}]'
