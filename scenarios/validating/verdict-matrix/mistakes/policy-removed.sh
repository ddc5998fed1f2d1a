# The answers are right, and the cluster is not any more.
cat > ~/verdicts.yaml <<'YAML'
initContainer: image-policy
imageVolume: admission-policy
ephemeralContainer: api
debug: image-policy
deployment: nobody
podsOfDeployment: image-policy
YAML
kubectl delete validatingadmissionpolicybinding no-image-volumes

# The API server takes that up in a moment; only then is the mistake made.
timeout 30 bash -c 'until kubectl create --dry-run=server -f ~/requests/image-volume.yaml; do :; done'
