# A digest, but of a version that the Deployment did not run.
kubectl run other --image=docker.io/library/httpd:2.4.58
kubectl wait pod other --for=condition=Ready --timeout=60s
image_id=$(kubectl get pod other -o jsonpath='{.status.containerStatuses[0].imageID}')
kubectl set image deployment crazy-deployment "*=docker.io/library/httpd@${image_id##*@}"
kubectl rollout status deployment crazy-deployment --timeout=120s
