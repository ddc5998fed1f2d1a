# A rule on pods covers the Pod alone. What goes through one of its subresources has to be named, and an ephemeral
# container is an UPDATE of pods/ephemeralcontainers.
kubectl patch validatingwebhookconfiguration strict-images --type=json \
  -p '[{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["pods", "pods/ephemeralcontainers"]}]'
