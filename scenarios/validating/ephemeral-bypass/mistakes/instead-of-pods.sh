# One hole is closed with what covered the other.
kubectl patch validatingwebhookconfiguration strict-images --type=json \
  -p '[{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["pods/ephemeralcontainers"]}]'

# The API server takes a configuration up in a moment; only then is the mistake made.
timeout 30 bash -c 'until kubectl run pause --image=k8s.gcr.io/pause:3.9 --dry-run=server; do :; done'
