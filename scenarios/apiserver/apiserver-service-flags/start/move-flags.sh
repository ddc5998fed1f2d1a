# What somebody made of the unit file: its flags as they stand there, and the plugin as a static pod's manifest of long ago
# has it, which lacks --admission-control-config-file.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed -e '/--admission-control-config-file=/d' \
    -e 's/--enable-admission-plugins=.*/--enable-admission-plugins=ImagePolicyWebhook/' \
    -e '/^    - kube-apiserver$/a\    - --apiserver-count=3\n    - --enable-swagger-ui=true\n    - --event-ttl=1h\n    - --runtime-config=api/all\n    - --service-node-port-range=30000-32767\n    - --v=2' \
    "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
