# More precise, and still a tag.
kubectl set image deployment crazy-deployment '*=docker.io/library/httpd:2.4.66'
kubectl rollout status deployment crazy-deployment --timeout=120s
