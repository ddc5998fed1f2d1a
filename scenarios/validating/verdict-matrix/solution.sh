# Each answer stands in the API server's message: who speaks there, and about which object.
kubectl create -f ~/requests/init-container.yaml || true
kubectl create -f ~/requests/image-volume.yaml || true
kubectl create -f ~/requests/ephemeral-container.yaml || true
kubectl debug web --image=quay.io/team/app:1.0 || true
kubectl create -f ~/requests/deployment.yaml

# A Deployment's Pods are asked for by its ReplicaSet, so what became of them is an event of that.
until kubectl get events --field-selector=reason=FailedCreate -o custom-columns=MESSAGE:.message | grep shop; do
  sleep 0.2
done
kubectl delete deployment shop

cat > ~/verdicts.yaml <<'YAML'
initContainer: image-policy
imageVolume: admission-policy
ephemeralContainer: api
debug: image-policy
deployment: nobody
podsOfDeployment: image-policy
YAML
