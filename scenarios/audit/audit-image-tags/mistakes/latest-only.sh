# Not only latest moves: 1.29 is another image after the next release.
for namespace in payments shop; do
  kubectl get pods -n "$namespace" -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}{" "}{.spec.initContainers[*].image}{" "}{.spec.containers[*].image}{"\n"}{end}'
done | awk '{
  for (i = 2; i <= NF; i++) if ($i ~ /:latest$/ || $i !~ /:/) { print $1; next }
}' > ~/audit/mutable.txt
