kubectl apply -f - <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata:
  name: image-policy
  namespace: default
data:
  policy.yaml: |
    apiVersion: bouncer.supply-chain/v1alpha1
    kind: ImagePolicy
    registries:
      allowed: [docker.io/library, registry.example.com/team]
    tags:
      denied: [latest]
YAML

# The kubelet brings the new file into the Pod, and the bouncer says what it makes of it.
until [[ "$(kubectl logs deployment/image-bouncer-webhook)" == *policy-reloaded* ]]; do
  sleep 0.2
done
