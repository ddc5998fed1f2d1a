# The image is there, and the kubelet is told to ask a registry for it, which has never heard of it.
cd ~/webhook
cat > Dockerfile <<'DOCKERFILE'
FROM docker.io/library/python:3
WORKDIR /app
COPY image_policy_webhook.py .
CMD ["python", "image_policy_webhook.py"]
DOCKERFILE
build-image -t image-policy-webhook:v1 -o webhook.tar .
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
          imagePullPolicy: Always
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
# Until the kubelet has asked the registry, this Pod waits for its container as any other does.
for _ in {1..150}; do
  reason=$(kubectl -n image-policy get pods -l app=image-policy-webhook \
    -o 'jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}')
  case $reason in
    *ErrImagePull* | *ImagePullBackOff*) break ;;
  esac
  sleep 0.2
done
