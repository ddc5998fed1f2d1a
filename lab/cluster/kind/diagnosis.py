"""Turns what a failed creation has logged into a cause and a remedy: the first fatal line, not the last time-out.

kind itself ends with kubeadm's words, which after four minutes only say that the API server did not come up. Why it did
not stands in the API server's own log, or the kubelet's, on the node that is kept until it has been read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Symptom:
    """A line that says why a cluster could not be made.

    Attributes:
        code: of the error.
        pattern: what the line says.
        remedy: what to do; names of the pattern's groups in braces are filled in.
    """

    code: str
    pattern: re.Pattern[str]
    remedy: str


def _symptom(code: str, pattern: str, remedy: str) -> Symptom:
    return Symptom(code=code, pattern=re.compile(pattern), remedy=remedy)


SYMPTOMS: tuple[Symptom, ...] = (
    _symptom(
        "plugin-unknown",
        r"enable-admission-plugins plugin \S+ is unknown|unknown admission plugin",
        "mend the name in enable-admission-plugins; NodeRestriction and ImagePolicyWebhook are written like that",
    ),
    _symptom(
        "flag-unknown",
        r"unknown flag: (?P<flag>--[\w-]+)",
        "take {flag} out of extraArgs: this version of the component has no such flag",
    ),
    _symptom(
        "flag-invalid",
        r"invalid argument \\?\"[^\"]*\\?\" for \\?\"(?P<flag>--[\w-]+)[^\"]*\"",
        "mend the value of {flag} in extraArgs",
    ),
    _symptom(
        "file-not-mounted",
        r"(?:open|stat|unable to read|failed to read|unable to load)[^:]* (?P<path>/[^\s:,\"]+)[^:]*: "
        r"(?:open (?P<again>/\S+): )?no such file or directory",
        "mount {path} into the container (extraVolumes, whose hostPath the node has from an extraMount), or mend the "
        "flag or the file that names it",
    ),
    _symptom(
        "volume-source-missing",
        r"hostPath type check failed: (?P<path>/\S+) is not a (?:directory|file)",
        "have {path} on the node, by an entry of extraMounts, or give the volume the pathType DirectoryOrCreate",
    ),
    _symptom(
        "kubeadm-config",
        r"(?:error unmarshaling|strict decoding error|unknown field|no kind \S+ is registered|your configuration file "
        r"uses an? (?:old|unsupported)).*",
        "mend the kubeadmConfigPatches of the cluster definition: kubeadm reads kubeadm.k8s.io/v1beta4",
    ),
    _symptom(
        "kind-config",
        r"unable to decode config|error converting YAML|yaml: line \d+|unknown apiVersion",
        "mend the cluster definition: 'kind: Cluster', 'apiVersion: kind.x-k8s.io/v1alpha4', indentation of two spaces",
    ),
    _symptom(
        "mount-source",
        r"(?:invalid mount config|error while creating mount source path|bind source path does not exist).*",
        "create the hostPath of that extraMount, or mend it; Docker must be allowed to mount it",
    ),
    _symptom(
        "port-taken",
        r"(?:port is already allocated|address already in use)",
        "choose another hostPort in extraPortMappings, or stop what listens there",
    ),
    _symptom(
        "image-unavailable",
        r"failed to pull image|pull access denied|manifest unknown|no such image|dial tcp: lookup registry-1\.docker",
        "let Docker reach the registry, or make a node image without one: 'lab node-image build'",
    ),
    _symptom(
        "node-did-not-boot",
        r"could not find a log line that matches|container \S+ is not running|detected that the node container exited",
        "see 'docker logs' of the node in the logs that were kept: its systemd did not start on this machine",
    ),
    _symptom(
        "cgroup-v1",
        r"kubelet is configured to not run on a host using cgroup v1",
        "boot this machine with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or have the cluster definition patch "
        "KubeletConfiguration with failCgroupV1: false",
    ),
    _symptom(
        "docker-unreachable",
        r"Cannot connect to the Docker daemon.*|permission denied while trying to connect to the docker.*",
        "start Docker, and see that 'docker info' works for this user",
    ),
)


def find(text: str) -> tuple[Symptom, str] | None:
    """The first line that tells a cause, and which; None when no line does."""
    for line in text.splitlines():
        for symptom in SYMPTOMS:
            if symptom.pattern.search(line):
                return symptom, line.strip()
    return None


def explain(sources: Sequence[tuple[str, str]]) -> LabError:
    """Why a cluster could not be made.

    Args:
        sources: name and text of each log, the one that is nearest to the cause first.
    """
    for name, text in sources:
        found = find(text)
        if found is None:
            continue
        symptom, line = found
        match = symptom.pattern.search(line)
        groups = match.groupdict(default="") if match else {}
        filled = {key: value for key, value in groups.items() if value}
        if "again" in filled:  # the innermost path is the one that is missing
            filled["path"] = filled["again"].rstrip(":")
        return LabError(
            symptom.code,
            f"the cluster cannot be made: {line}",
            hint=symptom.remedy.format_map(filled),
            context={"found in": name},
        )
    tail = next((text.strip().splitlines()[-1] for _, text in reversed(sources) if text.strip()), "no log")
    return LabError(
        "kind-failed",
        f"kind could not make the cluster: {tail}",
        hint="read the logs that were kept; 'lab up' again once the cause is mended",
    )
