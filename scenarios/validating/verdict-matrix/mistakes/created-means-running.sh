# kubectl says "deployment.apps/shop created", and nobody looks whether a Pod comes of it.
cat > ~/verdicts.yaml <<'YAML'
initContainer: image-policy
imageVolume: admission-policy
ephemeralContainer: api
debug: image-policy
deployment: nobody
podsOfDeployment: nobody
YAML
