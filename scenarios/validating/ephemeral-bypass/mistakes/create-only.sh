# An ephemeral container is never created: the list of them is updated.
kubectl patch validatingwebhookconfiguration strict-images --type=json -p '[{
  "op": "add", "path": "/webhooks/0/rules/-",
  "value": {
    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/ephemeralcontainers"]
  }
}]'
