# Every namespace, that of the cluster's own Pods too, which come from registry.k8s.io.
cat > webhook-server.conf <<'CONF'
[v3_req]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:image-policy-webhook.default.svc
CONF
openssl ecparam -name prime256v1 -genkey -noout -out webhook-server-key.pem
openssl req -new -key webhook-server-key.pem -subj /CN=image-policy-webhook.default.svc -out webhook-server.csr
openssl x509 -req -in webhook-server.csr -CA /etc/kubernetes/pki/ca.crt -CAkey /etc/kubernetes/pki/ca.key \
  -days 365 -extfile webhook-server.conf -extensions v3_req -out webhook-server-cert.pem
kubectl create secret tls tls-secret --cert=webhook-server-cert.pem --key=webhook-server-key.pem

kubectl apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata:
  name: image-policy-webhook
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
          command: [python3, /app/server/image_policy_webhook.py]
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
              mountPath: /app/server
              readOnly: true
            - name: tls-certs
              mountPath: /app/certs
              readOnly: true
      volumes:
        - name: server
          configMap:
            name: image-policy-webhook
        - name: tls-certs
          secret:
            secretName: tls-secret
---
apiVersion: v1
kind: Service
metadata:
  name: image-policy-webhook
spec:
  selector:
    app: image-policy-webhook
  ports:
    - port: 443
      targetPort: 8080
YAML
kubectl rollout status deployment image-policy-webhook --timeout=60s

kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: image-policy-webhook
webhooks:
  - name: image-policy.example.com
    clientConfig:
      service:
        namespace: default
        name: image-policy-webhook
        path: /validate
        port: 443
      caBundle: $(base64 -w0 /etc/kubernetes/pki/ca.crt)
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE, UPDATE]
        resources: [pods]
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
YAML

# The API server takes a configuration up in a moment; only then is the mistake made.
image=registry.k8s.io/coredns/coredns:v1.14.6
timeout 30 bash -c "while kubectl run addon --namespace=kube-system --image=$image --dry-run=server; do :; done"
