"""The embedded backend: a control-plane node in a directory, entered through Linux namespaces."""
