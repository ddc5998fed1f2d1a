# The Secret is used, and the registry does not take what is in it.
kubectl create secret docker-registry private-registry \
  --docker-server=private-registry.example --docker-username=candidate --docker-password=curse
kubectl patch deployment team-app --patch '{"spec": {"template": {"spec": {"imagePullSecrets": [{"name": "private-registry"}]}}}}'
