"""A lab's cluster: the protocol of a backend, the reader of ``kind-config.yaml``, and the backends."""
