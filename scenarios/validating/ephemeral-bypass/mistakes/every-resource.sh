# An asterisk stands for every resource, and for no subresource.
kubectl patch validatingwebhookconfiguration strict-images --type=json \
  -p '[{"op": "replace", "path": "/webhooks/0/rules/0/resources", "value": ["*"]}]'
