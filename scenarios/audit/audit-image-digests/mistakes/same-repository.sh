# One repository holds many images.
kubectl get pods -n shop -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.containerStatuses[*].imageID}{"\n"}{end}' |
  awk '/docker.io\/library\/nginx@/ { print $1 }' > ~/audit/same-image.txt
