# "not trusted: IMAGE" is YAML, and a review of which every field is missing: it denies, and nobody learns why.
sed -i 's/self.send_error(403, reason)/self.reply(reason)/' /root/webhook.py
kubectl create configmap image-police --from-file=/root/webhook.py --dry-run=client -o yaml | kubectl replace -f -
kubectl rollout restart deployment image-police
kubectl rollout status deployment image-police --timeout=60s
