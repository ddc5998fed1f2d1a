# "Forbidden" in the message is that of a field that must not be set, and no policy's.
cat > ~/verdicts.yaml <<'YAML'
initContainer: image-policy
imageVolume: admission-policy
ephemeralContainer: image-policy
debug: image-policy
deployment: nobody
podsOfDeployment: image-policy
YAML
