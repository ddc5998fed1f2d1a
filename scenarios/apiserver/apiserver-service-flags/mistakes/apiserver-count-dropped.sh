# Deprecated is not gone.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed -e '/--enable-swagger-ui=/d' \
    -e 's#--runtime-config=api/all$#--runtime-config=api/all=true#' \
    -e 's/--enable-admission-plugins=.*/--enable-admission-plugins=NodeRestriction,ImagePolicyWebhook/' \
    -e '/--enable-admission-plugins=/a\    - --admission-control-config-file=/etc/kubernetes/admission/admission_config.yaml' \
    -e '/--apiserver-count=/d' \
    "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
