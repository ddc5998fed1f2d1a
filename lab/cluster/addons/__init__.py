"""Manifests of what a start state may hold beside the cluster itself."""
