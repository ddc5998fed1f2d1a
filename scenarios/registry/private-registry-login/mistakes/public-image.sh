# It runs: something else.
kubectl set image deployment team-app app=docker.io/library/nginx:1.29
kubectl rollout status deployment team-app --timeout=60s
