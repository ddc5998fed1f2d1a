kubectl create secret docker-registry private-registry \
  --docker-server=private-registry.example --docker-username=candidate --docker-password=course
kubectl patch deployment team-app --patch '{"spec": {"template": {"spec": {"imagePullSecrets": [{"name": "private-registry"}]}}}}'
kubectl rollout status deployment team-app --timeout=60s
