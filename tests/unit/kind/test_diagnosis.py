from __future__ import annotations

import re

import pytest

from lab.cluster.kind.diagnosis import SYMPTOMS, explain

KIND_TAIL = """\
ERROR: failed to create cluster: failed to init node with kubeadm: command "docker exec ..." failed: exit status 1
Command Output: I1121 kubeadm.go:1 [wait-control-plane] the kubelet
error: error execution phase wait-control-plane: failed while waiting for the control plane to start
"""


@pytest.mark.parametrize(
    ("code", "line", "remedy"),
    [
        (
            "plugin-unknown",
            'failed to validate: [enable-admission-plugins plugin "ImagePolicyWebHook" is unknown]',
            "enable-admission-plugins",
        ),
        ("flag-unknown", "Error: unknown flag: --enable-swagger-ui", "take --enable-swagger-ui out of extraArgs"),
        (
            "flag-invalid",
            'Error: invalid argument "abc" for "--audit-log-maxage" flag: strconv.ParseInt: parsing "abc"',
            "mend the value of --audit-log-maxage",
        ),
        (
            "file-not-mounted",
            'unable to read configuration from "/etc/none.yaml" [open /etc/none.yaml: no such file or directory]',
            "mount /etc/none.yaml into the container",
        ),
        (
            "file-not-mounted",
            'failed to read file path "/x/policy.yaml": open /x/policy.yaml: no such file or directory',
            "mount /x/policy.yaml into the container",
        ),
        (
            "volume-source-missing",
            'MountVolume.SetUp failed for volume "x" : hostPath type check failed: /srv/none is not a directory',
            "have /srv/none on the node",
        ),
        (
            "kind-config",
            "ERROR: failed to create cluster: unable to decode config: yaml: unmarshal errors:",
            "indentation of two spaces",
        ),
        ("port-taken", "Bind for 0.0.0.0:30080 failed: port is already allocated", "another hostPort"),
        ("image-unavailable", 'ERROR: failed to pull image "kindest/node:v1.37.0"', "lab node-image build"),
        (
            "cgroup-v1",
            '"command failed" err="error: kubelet is configured to not run on a host using cgroup v1. cgroup v1"',
            "failCgroupV1: false",
        ),
    ],
)  # fmt: skip
def test_a_fatal_line_becomes_a_cause_and_a_remedy(code: str, line: str, remedy: str) -> None:
    error = explain([("kube-apiserver", line), ("kind", KIND_TAIL)])
    assert error.code == code
    assert line in error.message
    assert remedy in error.hint
    assert error.context["found in"] == "kube-apiserver"


def test_the_log_that_is_nearest_to_the_cause_is_believed_first() -> None:
    error = explain(
        [("kube-apiserver", "Error: unknown flag: --first"), ("kind", "Bind failed: port is already allocated")]
    )
    assert error.code == "flag-unknown"


def test_what_nobody_knows_is_told_by_kinds_last_words() -> None:
    error = explain([("kube-apiserver", ""), ("kind", KIND_TAIL)])
    assert error.code == "kind-failed"
    assert error.message.endswith("failed while waiting for the control plane to start")


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda symptom: symptom.code)
def test_a_remedy_names_only_what_its_pattern_finds(symptom: object) -> None:
    names = set(re.findall(r"{(\w+)}", symptom.remedy))  # type: ignore[attr-defined]
    assert names <= set(symptom.pattern.groupindex)  # type: ignore[attr-defined]
