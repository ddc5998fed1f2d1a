# The digest in a containerID is the name of a container, not of what it was made from.
kubectl get pod web -n shop -o jsonpath='{.status.containerStatuses[0].containerID}' > ~/audit/web.txt
