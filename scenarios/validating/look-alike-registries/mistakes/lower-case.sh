# The port counts, and DOCKER.IO is still taken for docker.io.
kubectl patch k8sallowedrepos trusted-registries --type=merge \
  -p '{"spec": {"parameters": {"repos": ["docker.io/", "mcr.example/"]}}}'

kubectl patch validatingadmissionpolicy trusted-registries --type=json -p '[{
  "op": "replace", "path": "/spec/validations/0/expression",
  "value": "variables.images.all(image, image.lowerAscii().split(\"/\")[0] in [\"docker.io\", \"mcr.example\"])"
}]'
