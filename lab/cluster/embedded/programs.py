"""Which program stands for which image: the node pulls nothing, so an image runs only when the lab has its program.

Control-plane images are matched exactly, tag included: a manifest that names another version does not run, as it would
not on a node that cannot pull it. Workload images are matched by repository, because the lab has one version of each.

A program that only few labs need (`ON_DEMAND`) is fetched when somebody asks for its image to be loaded; until then the
node has no such image.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lab
from lab.bouncer.reference import Reference, parse
from lab.cluster.embedded.layout import HOST_ROOT
from lab.cluster.embedded.sandbox import DEFAULT_PATH, Bind
from lab.cluster.protocol import Addon
from lab.components.pins import ETCD_VERSION, KUBERNETES_VERSION
from lab.errors import InputError, LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.cluster.protocol import StartState

ON_DEMAND = ("opa",)
"""Components of workload images that a lab is made without: nothing that a start state needs is among them."""

_COMPONENTS = {"docker.io/openpolicyagent/gatekeeper": "gatekeeper", "docker.io/openpolicyagent/opa": "opa"}
"""Repository of a workload image to the component that is its program."""
_CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
THRIFTY = (("GOGC", "50"),)
"""Environment of Go programs that are idle most of the time: a smaller heap for a little more work."""
_API_SERVER_BOUND, _API_SERVER_BOUND_WITH_GATEKEEPER = "200MiB", "250MiB"
"""Soft bounds of the API server's memory, whose start is the lab's heartbeat: garbage is collected seldom until then,
and that of a start does not stay. Measured beside Go's defaults: 5 % less time to the first verdict, and no more memory
when idle. The schemas of Gatekeeper's kinds alone would fill the smaller one, and half of the work be collecting: with
180 MiB for both, six scenarios of Gatekeeper took 42 s instead of 29."""
_SYSTEM_LIBRARIES = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/ssl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What runs when a Pod names an image.

    Attributes:
        entrypoint: the image's ENTRYPOINT.
        arguments: the image's CMD.
        binds: what the container's root holds of it, read-only.
        image_id: ``repository@sha256:...`` where the digest is the program's own (control plane); empty when the
            lab's registry serves the image and answers for its digest.
        environment: variables that the image sets.
    """

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    binds: tuple[Bind, ...]
    image_id: str = ""
    environment: tuple[tuple[str, str], ...] = ()


class ProgramTable:
    """The table from image to program.

    Args:
        executables: component name to executable, as the machine sees it.
        digests: component name to the executable's sha256.
        state: the start state that the lab was last set to.
    """

    def __init__(
        self, executables: Mapping[str, str], *, digests: Mapping[str, str], state: Callable[[], StartState]
    ) -> None:
        self._executables = executables
        self._digests = digests
        self._state = state

    def control_plane(self, image: str) -> Program | None:
        """The program of a control-plane image of the pinned version, or None."""
        reference = _parse(image)
        if reference is None:
            return None
        repository = f"{reference.domain}/{reference.path}"
        name = repository.removeprefix("registry.k8s.io/")
        if name in _CONTROL_PLANE and reference.tag == f"v{KUBERNETES_VERSION}":
            return self._binary(name, repository, self._api_server() if name == "kube-apiserver" else THRIFTY)
        if name == "etcd" and (reference.tag or "").startswith(f"{ETCD_VERSION}-"):
            return self._binary(name, repository, THRIFTY)
        return None

    def workload(self, image: str) -> Program | None:
        """The program of a workload image, or None when nothing but kwok can play it."""
        reference = _parse(image)
        if reference is None:
            return None
        repository = f"{reference.domain}/{reference.path}"
        match repository:
            case "docker.io/kainlite/kube-image-bouncer":
                return _python_program("lab.bouncer")
            case "docker.io/library/python":
                return _python_image()
            case "docker.io/openpolicyagent/gatekeeper":
                return Program(entrypoint=("/manager",), binds=(self._bind("gatekeeper", "/manager"),))
            case "docker.io/openpolicyagent/opa":
                return Program(entrypoint=("/opa",), arguments=("run",), binds=(self._bind("opa", "/opa"),))
        return None

    def require_present(self, image: str) -> None:
        """See that the program of a workload image is there.

        Raises:
            LabError: ``program-missing``: nobody has fetched it yet.
        """
        program, component = self.workload(image), component_of(image)
        if program is None or component is None or all(bind.source.exists() for bind in program.binds):
            return
        raise LabError(
            "program-missing",
            f'failed to pull and unpack image "{image}": the lab has not fetched its program yet; run '
            f"'lab components fetch {component}' on the machine",
            hint=f"run 'lab components fetch {component}'; the Pod starts by itself then",
        )

    def _bind(self, component: str, target: str) -> Bind:
        return Bind(source=on_node(self._executables[component]), target=target, read_only=True)

    def _api_server(self) -> tuple[tuple[str, str], ...]:
        with_gatekeeper = Addon.GATEKEEPER in self._state().addons
        bound = _API_SERVER_BOUND_WITH_GATEKEEPER if with_gatekeeper else _API_SERVER_BOUND
        return ("GOGC", "400"), ("GOMEMLIMIT", bound)

    def _binary(self, name: str, repository: str, environment: tuple[tuple[str, str], ...]) -> Program:
        return Program(
            entrypoint=(name,),
            binds=(self._bind(name, f"/usr/local/bin/{name}"),),
            image_id=f"{repository}@sha256:{self._digests[name]}",
            environment=environment,
        )


def component_of(image: str) -> str | None:
    """The component that is the program of a workload image; None for what needs none."""
    reference = _parse(image)
    return None if reference is None else _COMPONENTS.get(f"{reference.domain}/{reference.path}")


def _parse(image: str) -> Reference | None:
    """The reference, or None for what is none: whoever resolves the image says so in the Pod's status."""
    try:
        return parse(image)
    except InputError:
        return None


def on_node(executable: str) -> Path:
    """Where the node sees a file of the machine, whatever the node's own directories hide."""
    return HOST_ROOT / Path(executable).relative_to("/")


def _python_program(module: str) -> Program:
    """A module of this package, run by the Python that runs the lab."""
    package = Path(lab.__file__).resolve().parent
    return Program(
        entrypoint=(sys.executable, "-P", "-m", module),
        binds=_python_trees(Path(sys.prefix), package),
        environment=(("PYTHONPATH", str(package.parent)), ("PYTHONDONTWRITEBYTECODE", "1")),
    )


def _python_image() -> Program:
    """The Python below the virtual environment that runs the lab, which holds none of the lab's own packages."""
    return Program(
        arguments=("python3",),
        binds=_python_trees(),
        environment=(("PATH", f"{sys.base_prefix}/bin:{DEFAULT_PATH}"), ("PYTHONDONTWRITEBYTECODE", "1")),
    )


def _python_trees(*more: Path) -> tuple[Bind, ...]:
    """What the interpreter needs, and more, each at its own path."""
    trees = {Path(sys.base_prefix), Path(sys.base_prefix).resolve(), *more}
    trees |= {Path(tree) for tree in _SYSTEM_LIBRARIES}
    return tuple(Bind(source=tree, target=str(tree), read_only=True) for tree in sorted(trees) if tree.exists())
