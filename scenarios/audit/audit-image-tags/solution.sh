kubectl get pods -A -o jsonpath='{range .items[*]}{.spec.containers[*].image}{"\n"}{end}' > ~/audit/images.txt

# NAMESPACE/POD, then every image that it names, those of its init containers first.
for namespace in payments shop; do
  kubectl get pods -n "$namespace" -o jsonpath='{range .items[*]}{.metadata.namespace}/{.metadata.name}{" "}{.spec.initContainers[*].image}{" "}{.spec.containers[*].image}{"\n"}{end}'
done > ~/audit/pods.txt

# A reference without a registry (no dot and no colon before its first slash) is one of docker.io.
awk '{
  for (i = 2; i <= NF; i++) {
    registry = $i
    if (!sub("/.*", "", registry) || registry !~ /[.:]/) registry = "docker.io"
    if (registry != "docker.io" && registry != "registry.k8s.io") { print $1; next }
  }
}' ~/audit/pods.txt > ~/audit/untrusted.txt

awk '{ for (i = 2; i <= NF; i++) if ($i !~ /@sha256:/) { print $1; next } }' ~/audit/pods.txt > ~/audit/mutable.txt
