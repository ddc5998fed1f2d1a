"""The lab's own images and the registry that serves them.

Data flows one way: `catalogue` says which images there are, `oci` turns each into bytes with a digest that is the
same on every machine, `push` brings them to a running registry, `registry` runs that registry, and `resolve` answers
the node agent's question: which digest stands behind this reference?
"""
