# The webhook answers under the name and with the certificate that the API server knows.
kubectl create secret tls tls-image-bouncer-webhook \
  --cert=/run/lab/certificates/image-bouncer-webhook.crt --key=/run/lab/certificates/image-bouncer-webhook.key
kubectl create configmap image-police --from-file=/root/webhook.py
