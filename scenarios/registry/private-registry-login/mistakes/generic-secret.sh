# Name and password, but in a Secret of a type that no kubelet reads for a pull.
kubectl create secret generic private-registry --from-literal=username=candidate --from-literal=password=course
kubectl patch deployment team-app --patch '{"spec": {"template": {"spec": {"imagePullSecrets": [{"name": "private-registry"}]}}}}'
