kubectl get pods -A -o jsonpath='{range .items[*]}{.status.containerStatuses[*].imageID}{"\n"}{end}' > ~/audit/digests.txt

image_id=$(kubectl get pod web -n shop -o jsonpath='{.status.containerStatuses[0].imageID}')
digest=${image_id##*@}
echo "$digest" > ~/audit/web.txt

kubectl get pods -n shop -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.containerStatuses[*].imageID}{"\n"}{end}' |
  awk -v digest="$digest" 'index($0, "@" digest) { print $1 }' > ~/audit/same-image.txt
