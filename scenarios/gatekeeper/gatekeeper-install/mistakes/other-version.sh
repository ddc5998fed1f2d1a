# The manifest of one version with the image of another.
sed 's#image: openpolicyagent/gatekeeper:.*#image: openpolicyagent/gatekeeper:v3.22.0#' /root/gatekeeper.yaml | kubectl create -f -
