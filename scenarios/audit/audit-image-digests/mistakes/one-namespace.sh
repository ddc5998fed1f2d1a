# Right as far as it goes: one namespace.
kubectl get pods -n shop -o jsonpath='{range .items[*]}{.status.containerStatuses[*].imageID}{"\n"}{end}' > ~/audit/digests.txt
