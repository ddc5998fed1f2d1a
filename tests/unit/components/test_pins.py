from __future__ import annotations

import re
import urllib.parse

import pytest

from lab import components
from lab.components.pins import EVERY_LAB, GATEKEEPER_MANIFEST, GO_TOOLCHAIN, KIND_NODE_FILES, PINS, Component, GoModule
from lab.components.toolchain import parse_version, required_version

MODULES = {component.module.name: component.module for component in PINS.values()}
WITH_RELEASE = [component for component in PINS.values() if component.release is not None]


def go_mod(module: GoModule) -> str:
    return (module.directory / "go.mod").read_text(encoding="utf-8")


def test_every_program_of_the_lab_is_pinned_under_its_own_name() -> None:
    assert set(PINS) == {
        "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeadm", "kubectl",
        "etcd", "kwok", "kwokctl", "gatekeeper", "opa", "registry",
        "kind", "kubelet", "kube-proxy", "containerd", "containerd-shim-runc-v2", "ctr", "crictl", "coredns",
    }  # fmt: skip
    assert all(name == component.name for name, component in PINS.items())


def test_what_only_kind_needs_is_fetched_when_it_is_named_and_not_before() -> None:
    assert EVERY_LAB == (
        "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubeadm", "kubectl",
        "etcd", "kwok", "kwokctl", "gatekeeper", "opa", "registry",
    )  # fmt: skip


def test_the_public_versions_are_the_pinned_ones() -> None:
    assert components.KUBERNETES_VERSION == PINS["kubectl"].version == "1.37.0"
    assert components.ETCD_VERSION == PINS["etcd"].version == "3.7.3"
    assert components.KWOK_VERSION == PINS["kwok"].version == "0.8.0"
    assert components.GATEKEEPER_VERSION == PINS["gatekeeper"].version == GATEKEEPER_MANIFEST.module.version == "3.23.1"
    assert components.OPA_VERSION == PINS["opa"].version == "1.22.2"
    assert components.REGISTRY_VERSION == PINS["registry"].version == "3.1.2"
    assert components.KIND_VERSION == PINS["kind"].version == KIND_NODE_FILES.module.version == "0.33.0"


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_go_mod_requires_the_pinned_version(module: GoModule) -> None:
    required = re.findall(rf"^(?:require)?\s+{re.escape(module.path)} v(\S+)", go_mod(module), re.MULTILINE)

    assert required == [module.version]


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_go_mod_declares_the_pinned_packages_as_its_tools(module: GoModule) -> None:
    text = go_mod(module)
    block = re.search(r"^tool \(\n(.*?)^\)", text, re.MULTILINE | re.DOTALL)
    tools = block[1].split() if block else re.findall(r"^tool (\S+)$", text, re.MULTILINE)

    packages = {c.package for c in PINS.values() if c.module.name == module.name}
    own = re.findall(r"^module (\S+)$", text, re.MULTILINE)  # a main of ours is no tool: it lies in the module itself
    assert sorted(tools) == sorted(packages.difference(own))
    assert packages.isdisjoint(own) == (not (module.directory / "main.go").exists())


def test_the_registry_links_no_cloud_storage() -> None:
    module = PINS["registry"].module
    main = (module.directory / "main.go").read_text(encoding="utf-8")
    linked = re.findall(rf'"{re.escape(module.path)}/registry(\S*)"', main)

    assert linked == ["", "/auth/htpasswd", "/storage/driver/filesystem"]
    assert not re.search(r"aws|azure|cloud\.google", go_mod(module), re.IGNORECASE)
    assert PINS["registry"].release is None  # the project's own program, with everything


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_go_sum_has_the_checksum_of_the_pinned_source(module: GoModule) -> None:
    lines = (module.directory / "go.sum").read_text(encoding="utf-8").splitlines()

    assert any(line.startswith(f"{module.path} v{module.version} h1:") for line in lines)


@pytest.mark.parametrize("name", ["kubectl", "kubelet"])
def test_kubernetes_staging_modules_are_of_the_pinned_release(name: str) -> None:
    module = PINS[name].module
    replaced = re.findall(r"^\s*(\S+) => (\S+) v(\S+)$", go_mod(module), re.MULTILINE)

    assert len(replaced) > 20
    assert {(old == new, version) for old, new, version in replaced} == {(True, f"0.{module.version.split('.', 1)[1]}")}


@pytest.mark.parametrize("name", ["kubeadm", "kubelet"])
def test_the_kubernetes_stamps_carry_the_pinned_version(name: str) -> None:
    flags = PINS[name].module.ldflags

    assert "-X k8s.io/component-base/version.gitVersion=v1.37.0" in flags
    assert "-X k8s.io/component-base/version.gitMajor=1" in flags
    assert "-X k8s.io/component-base/version.gitMinor=37" in flags
    assert "-X k8s.io/client-go/pkg/version.gitVersion=v1.37.0" in flags


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_the_pinned_toolchain_satisfies_every_module(module: GoModule) -> None:
    needed, pinned = parse_version(required_version(go_mod(module))), parse_version(GO_TOOLCHAIN.version)

    assert needed is not None
    assert pinned is not None
    assert pinned >= needed


def test_the_pinned_toolchain_has_a_checksum_per_architecture() -> None:
    assert set(GO_TOOLCHAIN.wheel_sha256) == {"amd64", "arm64"}
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in GO_TOOLCHAIN.wheel_sha256.values())


@pytest.mark.parametrize("component", WITH_RELEASE, ids=lambda component: component.name)
@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_a_release_has_a_checksum_at_the_same_publisher(component: Component, arch: str) -> None:
    assert component.release is not None
    fields = {"version": component.version, "os": "linux", "arch": arch, "name": component.name}
    url = urllib.parse.urlsplit(component.release.url.format(**fields))
    checksum_url = urllib.parse.urlsplit(component.release.checksum_url.format(**fields))

    assert url.scheme == checksum_url.scheme == "https"
    assert url.netloc == checksum_url.netloc
    assert component.version in url.path
    assert arch in url.path
    assert component.version in checksum_url.path


def test_an_archive_names_its_member_and_a_bare_program_none() -> None:
    for component in WITH_RELEASE:
        assert component.release is not None
        assert (component.release.member is not None) == component.release.url.endswith(".tar.gz")
