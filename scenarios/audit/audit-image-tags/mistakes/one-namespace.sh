# Without -A only the namespace default is listed.
kubectl get pods -o jsonpath='{range .items[*]}{.spec.containers[*].image}{"\n"}{end}' > ~/audit/images.txt
