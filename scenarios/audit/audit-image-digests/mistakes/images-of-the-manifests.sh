# What the manifests ask for, which says nothing about what runs.
kubectl get pods -A -o jsonpath='{range .items[*]}{.spec.containers[*].image}{"\n"}{end}' > ~/audit/digests.txt
