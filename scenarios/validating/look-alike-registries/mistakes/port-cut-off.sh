# The letters are compared as they are, and the port is still thrown away.
kubectl patch k8sallowedrepos trusted-registries --type=merge \
  -p '{"spec": {"parameters": {"repos": ["docker.io/", "mcr.example/"]}}}'

kubectl patch validatingadmissionpolicy trusted-registries --type=json -p '[{
  "op": "replace", "path": "/spec/validations/0/expression",
  "value": "variables.images.all(image, image.split(\"/\")[0].split(\":\")[0] in [\"docker.io\", \"mcr.example\"])"
}]'
