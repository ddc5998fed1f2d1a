# A key without a value was enough once.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed -e '/--enable-swagger-ui=/d' \
    -e 's/--enable-admission-plugins=.*/--enable-admission-plugins=NodeRestriction,ImagePolicyWebhook/' \
    -e '/--enable-admission-plugins=/a\    - --admission-control-config-file=/etc/kubernetes/admission/admission_config.yaml' \
    "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
