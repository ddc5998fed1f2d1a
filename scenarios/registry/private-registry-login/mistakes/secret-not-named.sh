# A Secret that no Pod names opens nothing.
kubectl create secret docker-registry private-registry \
  --docker-server=private-registry.example --docker-username=candidate --docker-password=course
kubectl rollout restart deployment team-app
