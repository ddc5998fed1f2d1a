# Nobody knows the webhook's name yet. Written in place: where a container is the node, /etc/hosts cannot be replaced.
hosts=$(grep -vw image-bouncer-webhook /etc/hosts || true)
printf '%s\n' "$hosts" > /etc/hosts

# Keys and certificates of an earlier attempt.
rm -rf ~/bouncer
mkdir ~/bouncer
