"""Makes the directory of a new lab on kind: boot files, what runs on the node, and the order that kind is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lab.admission.boot import write_boot_files
from lab.admission.configuration import ImagePolicyConfig
from lab.cluster.definition import check_host_paths, read_cluster_definition
from lab.cluster.embedded.making import project_definition
from lab.cluster.kind import boot, node_services
from lab.cluster.kind.creation import Order
from lab.cluster.kind.definition import machine_overlay, render
from lab.cluster.kind.layout import KindSettings
from lab.components import Components
from lab.images.node import node_image_name
from lab.images.workloads import WorkloadImages

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lab.cluster.definition import ClusterDefinition
    from lab.cluster.kind.engine import Engine
    from lab.cluster.kind.layout import KindLayout
    from lab.cluster.protocol import StartState
    from lab.paths import LabPaths


def prepare(
    layout: KindLayout,
    *,
    name: str,
    state: StartState,
    cluster: str,
    paths: LabPaths,
    bin_dir: Path | None,
    definition: Path | None,
    engine: Engine,
    progress: Callable[[str], None],
) -> Order:
    """Make everything that kind needs, for a lab that is going to be in a start state; nothing runs yet.

    Raises:
        InputError: the definition is wrong, or a host path that it mounts is not there.
        LabError: a program or an image cannot be had.
    """
    definition_path = definition or project_definition()
    read = read_cluster_definition(definition_path)
    with ThreadPoolExecutor(max_workers=1) as docker:
        network = docker.submit(engine.make_network, cluster)
        components = Components(paths, bin_dir=bin_dir, progress=progress)
        programs = components.ensure("kind", *node_services.PROGRAMS)
        # In the registry before the node boots: the kubelet pulls the boot's bouncer with the first things it does.
        images, python = WorkloadImages(paths, bin_dir=bin_dir, progress=progress).prepare_lab(state.addons)
        layout.root.mkdir(parents=True, exist_ok=True)
        settings = KindSettings(
            name=name,
            cluster=cluster,
            state="",
            definition=str(definition_path.resolve()),
            image=choose_image(read, engine),
            gatekeeper_manifest=str(components.gatekeeper_manifest()),
        )
        settings.save(layout.settings_file)
        closed = boot.is_closed(state)
        write_boot_files(layout.root, image_policy=ImagePolicyConfig(default_allow=not closed))
        check_host_paths(read, layout.root)
        node_services.write_files(layout.root, boot_bouncer=boot.static_pod() if closed else None)
        layout.kind_config.write_text(
            render(
                definition_path.read_text(),
                mounts=node_services.mounts(programs, images, python),
                overlay=machine_overlay(),
                has_own_network=settings.image == node_image_name(),
            )
        )
        return Order(
            program=programs["kind"],
            cluster=cluster,
            config=layout.kind_config,
            kubeconfig=layout.kubeconfig,
            network=network.result(),
            image=settings.image,
            log=layout.kind_log,
        )


def choose_image(definition: ClusterDefinition, engine: Engine) -> str:
    """The definition's node image, unless Docker lacks it and has the one that the lab makes itself."""
    wanted, own = definition.node_image, node_image_name()
    if engine.image_id(wanted) is None and engine.image_id(own) is not None:
        return own
    return wanted
