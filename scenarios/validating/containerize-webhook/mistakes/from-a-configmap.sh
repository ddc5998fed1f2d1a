# It works, and runs from a ConfigMap; the image that was built is not used.
cd ~/webhook
cat > Dockerfile <<'DOCKERFILE'
FROM docker.io/library/python:3
WORKDIR /app
COPY image_policy_webhook.py .
CMD ["python", "image_policy_webhook.py"]
DOCKERFILE
build-image -t image-policy-webhook:v1 -o webhook.tar .
ctr --namespace k8s.io images import webhook.tar
kubectl -n image-policy create configmap server --from-file=image_policy_webhook.py

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
          image: docker.io/library/python:3
          command: [python3, /server/image_policy_webhook.py]
          ports:
            - containerPort: 8080
          readinessProbe:
            httpGet:
              path: /healthz
              port: 8080
              scheme: HTTPS
            periodSeconds: 1
          volumeMounts:
            - name: server
              mountPath: /server
            - name: tls-certs
              mountPath: /app/certs
              readOnly: true
      volumes:
        - name: server
          configMap:
            name: server
        - name: tls-certs
          secret:
            secretName: tls-secret
YAML
kubectl -n image-policy rollout status deployment image-policy-webhook --timeout=60s
kubectl apply -f ~/validating-webhook-configuration.yaml
