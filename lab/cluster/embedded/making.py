"""Makes the directory of a new lab: programs, node files, configuration for kubeadm, kubeconfigs."""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

import lab
from lab.cluster.embedded import node_root, shell_commands
from lab.cluster.embedded.addresses import API_SERVER_PORT, NODE_IP, NODE_NAME, resolv_conf_for_node
from lab.cluster.embedded.layout import HOST_ROOT, KUBEADM_CONFIG, LabLayout, LabSettings
from lab.cluster.embedded.programs import ON_DEMAND
from lab.cluster.embedded.template import TemplateFamily, family_directory
from lab.components import ETCD_VERSION, KUBERNETES_VERSION, Components
from lab.errors import LabError
from lab.images.catalogue import storage_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.cluster.protocol import StartState
    from lab.paths import LabPaths

PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "etcd",
    "kubeadm",
    "kubectl",
    "kwok",
    "registry",
    "gatekeeper",
)
"""Programs that every lab needs; their fingerprint decides which templates fit, so `ON_DEMAND` is none of them."""
_ON_PATH = ("kubeadm", "kubectl")
"""Programs that a person finds on the node; the others run in containers, as on a real node."""
_BOOT_CERTIFICATES = "certificates"
_STATE_PARTS = (
    "node/etc/kubernetes",
    "node/etc/hosts",
    "node/var/lib/etcd",
    "node/var/lib/kubelet",
    _BOOT_CERTIFICATES,
)
BOUNCER_HOST = "image-bouncer-webhook"


def project_definition() -> Path:
    """The project's ``kind-config.yaml``.

    Raises:
        LabError: ``definition-missing``: the lab was installed without it.
    """
    path = Path(lab.__file__).resolve().parent.parent / "kind-config.yaml"
    if not path.exists():
        raise LabError(
            "definition-missing",
            "this installation has no kind-config.yaml",
            hint="give one with --config, or run the lab from a checkout of the project",
        )
    return path


def make_directory(
    layout: LabLayout,
    *,
    name: str,
    paths: LabPaths,
    bin_dir: Path | None,
    definition: Path | None,
    state: StartState,
    port: int,
    progress: Callable[[str], None],
) -> LabSettings:
    """Make a lab's directory, without the parts that a template or the bootstrap fills.

    Raises:
        LabError: a program cannot be had, or the definition is wrong.
    """
    definition_path = definition or project_definition()
    components = Components(paths, bin_dir=bin_dir, progress=progress)
    # Resolved, because the target of a link may be hidden on the node by the node's own directories.
    programs = {program: str(path.resolve()) for program, path in components.ensure(*PROGRAMS).items()}
    listed = components.list()
    digests = {info.name: info.sha256 for info in listed if info.name in programs}
    # Where they lie once they are fetched: the node sees them from then on.
    programs |= {info.name: str(info.path.resolve()) for info in listed if info.name in ON_DEMAND}
    storage = _registry_storage(Path(programs["registry"]), paths)
    family = family_directory(
        paths.templates, definition=definition_path.read_text(), programs=components.fingerprint(*PROGRAMS)
    )
    settings = LabSettings(
        name=name,
        node_name=NODE_NAME,
        port=port,
        state=state,
        template=str(family),
        definition=str(definition_path),
        programs=programs,
        digests=digests,
        gatekeeper_manifest=str(components.gatekeeper_manifest()),
        registry_storage=str(storage.resolve()),
        extra_mounts=_extra_mounts(definition_path, family),
    )
    layout.root.mkdir(parents=True, exist_ok=True)
    node_root.prepare(
        layout,
        hostname=settings.node_name,
        hosts=_hosts(settings.node_name),
        resolv_conf=resolv_conf_for_node(),
    )
    for host_path in settings.extra_mounts.values():
        (layout.root / host_path).mkdir(parents=True, exist_ok=True)
    for program in _ON_PATH:
        (layout.bin / program).symlink_to(HOST_ROOT / Path(programs[program]).relative_to("/"))
    (layout.bin / "k").symlink_to("kubectl")
    (layout.bin / "lab").write_text(shell_commands.program())
    (layout.bin / "lab").chmod(0o755)
    settings.save(layout.settings_file)
    return settings


def write_boot_files(layout: LabLayout, settings: LabSettings) -> None:
    """Write what only a new cluster needs: the boot files of its API server, and what kubeadm is told.

    Raises:
        InputError: a host path that the definition mounts is not there.
    """
    from lab.admission.boot import write_boot_files as write_admission_files  # noqa: PLC0415 - needs cryptography
    from lab.admission.certificates import CertificateAuthority  # noqa: PLC0415
    from lab.cluster.definition import (  # noqa: PLC0415
        check_host_paths,
        cluster_configuration_yaml,
        read_cluster_definition,
    )

    definition = read_cluster_definition(Path(settings.definition))
    write_admission_files(layout.root)
    check_host_paths(definition, layout.root)
    authority = CertificateAuthority.create("lab-node-ca")
    serving = authority.issue_server(names=[settings.node_name, NODE_IP])
    pki = layout.node / "var/lib/kubelet/pki"
    pki.mkdir(parents=True, exist_ok=True)
    (pki / "kubelet.crt").write_bytes(serving.certificate_pem)
    (pki / "kubelet.key").touch(mode=0o600)
    (pki / "kubelet.key").write_bytes(serving.key_pem)
    configuration = cluster_configuration_yaml(
        definition,
        kubernetes_version=f"v{KUBERNETES_VERSION}",
        control_plane_endpoint=f"{NODE_IP}:{API_SERVER_PORT}",
        advertise_address=NODE_IP,
        node_name=settings.node_name,
        cluster_name="kubernetes",
        etcd_version=ETCD_VERSION,
    )
    (layout.node / Path(KUBEADM_CONFIG).relative_to("/")).write_text(configuration)


def template_family(settings: LabSettings) -> TemplateFamily:
    """The templates that fit a lab."""
    return TemplateFamily(
        directory=Path(settings.template), parts=(*_STATE_PARTS, *sorted(set(settings.extra_mounts.values())))
    )


def with_state(settings: LabSettings, state: StartState) -> LabSettings:
    """The same lab, set to another start state."""
    return replace(settings, state=state)


def empty_scratch(layout: LabLayout) -> None:
    """Remove what a person and the Pods have left that belongs to no state: volumes, logs of Pods, the audit log."""
    for directory in (layout.pods, layout.pod_logs, layout.node / "var/log/containers"):
        for entry in directory.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    for log in (layout.node / "var/log/kubernetes/audit").iterdir():
        log.unlink()


def write_outside_kubeconfig(layout: LabLayout, settings: LabSettings) -> Path:
    """The administrator's kubeconfig with the address that answers outside the node."""
    document = yaml.safe_load((layout.kubernetes / "admin.conf").read_text())
    for cluster in document["clusters"]:
        cluster["cluster"]["server"] = f"https://127.0.0.1:{settings.port}"
    text = yaml.safe_dump(document, sort_keys=False)
    path = layout.outside_kubeconfig
    if not path.exists() or path.read_text() != text:
        temporary = path.with_suffix(".tmp")
        temporary.touch(mode=0o600)
        temporary.write_text(text)
        temporary.replace(path)
    return path


def _hosts(node_name: str) -> str:
    return f"127.0.0.1\tlocalhost\n{NODE_IP}\t{node_name}\n127.0.0.1\t{BOUNCER_HOST}\n"


def _extra_mounts(definition: Path, family: Path) -> dict[str, str]:
    """Path on the node to path below the lab's directory, kept with the templates of the definition.

    A definition that has templates has been read and found right, so a warm start need not load what reads it.
    """
    known = family / "extra-mounts.json"
    with contextlib.suppress(FileNotFoundError):
        mounts: dict[str, str] = json.loads(known.read_text())
        return mounts
    from lab.cluster.definition import read_cluster_definition  # noqa: PLC0415 - pydantic is loaded only here

    control_plane = read_cluster_definition(definition).control_plane
    mounts = {
        mount.container_path: mount.host_path
        for mount in control_plane.extra_mounts
        if not Path(mount.host_path).is_absolute()
    }
    family.mkdir(parents=True, exist_ok=True)
    temporary = known.with_suffix(f".{threading.get_native_id()}")  # labs may be made by several threads of a process
    temporary.write_text(json.dumps(mounts))
    temporary.replace(known)
    return mounts


def _registry_storage(program: Path, paths: LabPaths) -> Path:
    directory = paths.cache / "images"
    finished = storage_directory(directory)
    if finished.is_dir():
        return finished
    import asyncio  # noqa: PLC0415 - the first lab of this catalogue needs them, and no other

    from lab.images.registry import prepare_storage  # noqa: PLC0415

    try:
        return asyncio.run(prepare_storage(program, directory))
    except OSError as error:
        raise LabError(
            "images-failed",
            f"the lab's images could not be made: {error}",
            hint="see whether the cache directory can be written and has room",
        ) from error
