# opa.yaml as it is: OPA takes the policy for Rego of today, cannot parse it, and ends.
cat > policy.rego <<'REGO'
package kubernetes.admission

deny[msg] {
    input.request.kind.kind == "Pod"
    image := input.request.object.spec.containers[_].image
    not startswith(image, "internal-registry.io/")
    msg := sprintf("Image '%s' is not from a trusted registry", [image])
}
REGO
kubectl -n opa create configmap opa-policy --from-file=policy.rego

openssl ecparam -name prime256v1 -genkey -noout -out opa.key
openssl req -new -key opa.key -subj /CN=opa.opa.svc -out opa.csr
openssl x509 -req -in opa.csr -CA /etc/kubernetes/pki/ca.crt -CAkey /etc/kubernetes/pki/ca.key -days 365 \
  -extfile <(printf 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:opa.opa.svc\n') -out opa.crt
kubectl -n opa create secret tls opa-server --cert=opa.crt --key=opa.key

kubectl apply -f opa.yaml
kubectl apply -f - <<YAML
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata:
  name: opa
webhooks:
  - name: validating-webhook.openpolicyagent.org
    clientConfig:
      service:
        namespace: opa
        name: opa
        path: /
      caBundle: $(base64 -w0 /etc/kubernetes/pki/ca.crt)
    namespaceSelector:
      matchExpressions:
        - key: kubernetes.io/metadata.name
          operator: NotIn
          values: [kube-system, opa]
    rules:
      - apiGroups: [""]
        apiVersions: [v1]
        operations: [CREATE]
        resources: [pods]
    failurePolicy: Fail
    sideEffects: None
    admissionReviewVersions: [v1]
YAML
