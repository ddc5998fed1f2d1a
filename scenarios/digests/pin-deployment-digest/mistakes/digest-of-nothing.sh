# A typing error in a digest: no registry has such an image.
kubectl set image deployment crazy-deployment \
  '*=docker.io/library/httpd@sha256:0000000000000000000000000000000000000000000000000000000000000000'
