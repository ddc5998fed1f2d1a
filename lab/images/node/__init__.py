"""A node image for kind that is made on this machine: no image registry is asked for anything.

kind's own node images are built in containers from images of a registry, and are pulled from one. Behind an air gap,
or a rate limit, neither works. This one has the same parts from other sources: Debian packages from the mirror that
this machine's own apt is set up with, the pinned programs of the component store, and kind's own entrypoint, units and
settings out of kind's verified Go module. `docker load` gets it as an archive that is written here, because only so are
its entrypoint, its stop signal and its layers exactly as meant, with every version of Docker.

It lies beside the lab's other images (`lab.images`) and knows nothing of clusters: the kind backend asks it for a name.

Data flows one way, and each of the three layers is kept until what it is made of changes:

    apt            where this machine's packages come from
    packages       first layer: a Debian with systemd and what a node needs, made by mmdebstrap
    debian         reads the packages out of that layer
    node_files     second layer: kind's files, the node's programs, the network's settings
    system_images  the control plane's images: one program in each, under the names that kubeadm asks for
    content_store  third layer: those images in containerd's store
    tarballs       tar archives, the same bytes on every machine
    build          puts the layers together
    engine         hands the image to Docker
"""

from __future__ import annotations

from lab.images.node.build import REPOSITORY, NodeImage, build_node_image, load_node_image, node_image_name

__all__ = ["REPOSITORY", "NodeImage", "build_node_image", "load_node_image", "node_image_name"]
