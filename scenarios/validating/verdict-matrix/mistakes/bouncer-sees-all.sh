# The bouncer is asked about the Pod; but the volume's image is not among those that it is shown.
cat > ~/verdicts.yaml <<'YAML'
initContainer: image-policy
imageVolume: image-policy
ephemeralContainer: api
debug: image-policy
deployment: nobody
podsOfDeployment: image-policy
YAML
