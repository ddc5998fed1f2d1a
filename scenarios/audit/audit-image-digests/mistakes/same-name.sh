# Two names for one image are taken for two images.
image=$(kubectl get pod web -n shop -o jsonpath='{.spec.containers[0].image}')
kubectl get pods -n shop -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.spec.containers[*].image}{"\n"}{end}' |
  awk -v image="$image" '{ for (i = 2; i <= NF; i++) if ($i == image) { print $1; next } }' > ~/audit/same-image.txt
