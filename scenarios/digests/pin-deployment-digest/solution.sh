image_id=$(kubectl get pods -l app=crazy-deployment -o jsonpath='{.items[0].status.containerStatuses[0].imageID}')
kubectl set image deployment crazy-deployment "*=docker.io/library/httpd@${image_id##*@}"
kubectl rollout status deployment crazy-deployment --timeout=120s
