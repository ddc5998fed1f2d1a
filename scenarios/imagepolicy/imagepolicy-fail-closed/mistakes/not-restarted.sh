# Both files are right, but who reads them?
sed -i 's#server: https://.*#server: https://external-service:1234/check-image#' /etc/kubernetes/admission/kubeconf
sed -i 's/defaultAllow: true/defaultAllow: false/' /etc/kubernetes/admission/admission_config.yaml
