cd ~/webhook
cat > Dockerfile <<'DOCKERFILE'
FROM docker.io/library/python:3
WORKDIR /app
COPY image_policy_webhook.py .
CMD ["python", "image_policy_webhook.py"]
DOCKERFILE
build-image -t image-policy-webhook:v1 -o webhook.tar .
# Into the namespace in which the kubelet looks for images.
ctr --namespace k8s.io images import webhook.tar

kubectl apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata:
  name: image-policy-webhook
  namespace: image-policy
spec:
  replicas: 1
  selector:
    matchLabels:
      app: image-policy-webhook
  template:
    metadata:
      labels:
        app: image-policy-webhook
    spec:
      automountServiceAccountToken: false
      containers:
        - name: webhook
          image: image-policy-webhook:v1
          ports:
            - containerPort: 8080
          readinessProbe:
            httpGet:
              path: /healthz
              port: 8080
              scheme: HTTPS
            periodSeconds: 1
          volumeMounts:
            - name: tls-certs
              mountPath: /app/certs
              readOnly: true
      volumes:
        - name: tls-certs
          secret:
            secretName: tls-secret
YAML
# Only when the server answers is it to be asked: from then on, no Pod gets in without it.
kubectl -n image-policy rollout status deployment image-policy-webhook --timeout=60s
kubectl apply -f ~/validating-webhook-configuration.yaml
