"""The backend that is a guest in somebody else's cluster: any kubeconfig, nothing touched but what is the lab's own."""
