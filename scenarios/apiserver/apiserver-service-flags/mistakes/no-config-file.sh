# As the static pod of long ago has it: the plugin without its configuration.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed -e '/--enable-swagger-ui=/d' \
    -e 's#--runtime-config=api/all$#--runtime-config=api/all=true#' \
    -e 's/--enable-admission-plugins=.*/--enable-admission-plugins=NodeRestriction,ImagePolicyWebhook/' \
    "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
