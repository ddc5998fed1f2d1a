# More than a registry: the rest of docker.io is denied with the look-alikes.
kubectl patch k8sallowedrepos trusted-registries --type=merge \
  -p '{"spec": {"parameters": {"repos": ["docker.io/", "mcr.example/"]}}}'

kubectl patch validatingadmissionpolicy trusted-registries --type=json -p '[{
  "op": "replace", "path": "/spec/validations/0/expression",
  "value": "variables.images.all(image, image.startsWith(\"docker.io/library/\") || image.startsWith(\"mcr.example/\"))"
}]'

# The API server takes a policy up within a second or so; only then is the mistake made.
image=docker.io/weaveworks/weave-npc:2.8.1
timeout 30 bash -c "while kubectl run web --namespace=by-cel --image=$image --dry-run=server; do :; done"
