# Without --docker-server a Secret is for Docker Hub, and offered to nobody else.
kubectl create secret docker-registry private-registry --docker-username=candidate --docker-password=course
kubectl patch deployment team-app --patch '{"spec": {"template": {"spec": {"imagePullSecrets": [{"name": "private-registry"}]}}}}'
