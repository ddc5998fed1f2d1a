# A registry ends at its slash, and no sooner.
kubectl patch k8sallowedrepos trusted-registries --type=merge \
  -p '{"spec": {"parameters": {"repos": ["docker.io/", "mcr.example/"]}}}'

# What stands before the first slash is the registry: its port and its letters belong to it.
kubectl patch validatingadmissionpolicy trusted-registries --type=json -p '[{
  "op": "replace", "path": "/spec/validations/0/expression",
  "value": "variables.images.all(image, image.split(\"/\")[0] in [\"docker.io\", \"mcr.example\"])"
}]'
