"""How an API server is set up to ask a webhook about images: configuration, kubeconfig, certificates, manifest.

``configuration`` and ``kubeconf`` write the two files, ``certificates`` issues what mutual TLS needs, ``boot`` puts a
lab's own set of all of them in place, and ``manifest`` reads and edits the API server's static pod manifest.
"""
