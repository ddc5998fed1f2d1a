# The certificates stay; what a person has to write goes.
rm -f /etc/kubernetes/admission/admission_config.yaml /etc/kubernetes/admission/kubeconf
