# The API server starts again, without what kept it from starting.
# An edit restarts the API server at once; left alone, it is tried again after a longer and longer time. Edited outside of
# the manifests directory, where the kubelet would take any other file for one more Pod, and moved there in one step.
manifest=/etc/kubernetes/manifests/kube-apiserver.yaml
edited=/etc/kubernetes/kube-apiserver.edited
sed 's/,ImagePolicyWebhook//' "$manifest" > "$edited"
chmod 600 "$edited"
mv "$edited" "$manifest"
