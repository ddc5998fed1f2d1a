from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import yaml

from lab.cluster.kind import node_services

PROGRAMS = {name: Path("/store", name) for name in node_services.PROGRAMS}


def test_no_name_is_asked_of_anybody_else_before_the_resolver_runs(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)
    (nameserver,) = (tmp_path / "resolv.conf").read_text().split()[1:]
    assert nameserver.startswith("127.")
    # The resolver answers there too: a static pod may have been started with the file of before.
    assert nameserver in (tmp_path / "node/Corefile").read_text()


def test_every_unit_is_mounted_and_wanted_by_the_container_runtime(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)
    mounts = {mount.container_path: mount for mount in node_services.mounts(PROGRAMS, Path("/images"), Path("/python"))}
    wanted = (tmp_path / "node/wanted.conf").read_text()
    for unit in node_services.UNITS:
        assert f"{unit}.service" in wanted
        assert (tmp_path / mounts[f"/etc/systemd/system/{unit}.service"].host_path).is_file()
    assert mounts["/etc/systemd/system/containerd.service.d/10-lab.conf"].host_path == "node/wanted.conf"
    for mount in mounts.values():
        assert mount.host_path.startswith("/") or (tmp_path / mount.host_path).exists()


def test_the_labs_commands_on_the_node_start_the_python_that_is_mounted(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)
    mounts = {mount.container_path: mount for mount in node_services.mounts(PROGRAMS, Path("/i"), Path("/p"))}
    assert mounts["/run/lab/python"].host_path == "/p"
    assert (Path(mounts["/run/lab/lib/lab"].host_path) / "images/builder.py").is_file()
    assert not mounts["/run/lab/run"].read_only
    for command in ("lab", "build-image"):
        file = tmp_path / mounts[f"/usr/local/bin/{command}"].host_path
        assert file.stat().st_mode & 0o111
        assert subprocess.run(("sh", "-n", file), check=False).returncode == 0


def test_a_programs_files_lie_where_its_unit_says(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)
    for unit in ("lab-registry", "lab-private-registry"):
        text = (tmp_path / f"node/{unit}.service").read_text()
        assert f"ExecStart=/run/lab/bin/registry serve /run/lab/node/{unit}.yaml" in text
        config = yaml.safe_load((tmp_path / f"node/{unit}.yaml").read_text())
        assert config["storage"]["filesystem"]["rootdirectory"] == "/run/lab/images"
        assert ("auth" in config) is (unit == "lab-private-registry")


def test_the_runtime_asks_the_labs_registry_for_every_registry_of_the_catalogue(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)
    hosts = {file.parent.name: tomllib.loads(file.read_text()) for file in (tmp_path / "certs.d").glob("*/hosts.toml")}
    assert {"docker.io", "gcr.io", "internal-registry.io", "mcr.example:5000", "private-registry.example"} <= set(hosts)
    assert hosts["docker.io"]["server"] == "http://127.0.0.1:5000/v2/docker.io"
    assert hosts["mcr.example:5000"]["server"].endswith("/v2/mcr.example__5000")
    assert hosts["private-registry.example"]["server"].startswith("http://127.0.0.1:5001/")
    for document in hosts.values():
        assert document["override_path"] is True
        assert document["host"] == {document["server"]: {"capabilities": ["pull", "resolve"], "override_path": True}}


def test_a_persons_shell_has_the_exams_short_name_for_kubectl(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)
    script = f". {tmp_path}/node/bashrc; alias k"
    assert subprocess.run(("bash", "-c", script), capture_output=True, text=True, check=True).stdout == (
        "alias k='kubectl'\n"
    )


BOOT_BOUNCER = {"kind": "Pod", "spec": {"containers": [{"image": "docker.io/team/bouncer:1"}]}}


def test_the_bouncer_of_the_boot_is_put_among_the_static_pods_once(tmp_path: Path) -> None:
    node_services.write_files(tmp_path, boot_bouncer=BOOT_BOUNCER)

    assert yaml.safe_load((tmp_path / "node/boot-bouncer.yaml").read_text()) == BOOT_BOUNCER
    unit = (tmp_path / "node/lab-boot-bouncer.service").read_text()
    assert "ExecStart=/bin/cp /run/lab/node/boot-bouncer.yaml /etc/kubernetes/manifests/" in unit
    # Neither in a lab that boots open, nor when the node is started once more.
    assert "ConditionPathExists=/run/lab/node/boot-bouncer.yaml" in unit
    assert "ConditionPathExists=!/etc/kubernetes/admin.conf" in unit


def test_its_image_is_pulled_before_the_kubelet_asks_for_it(tmp_path: Path) -> None:
    node_services.write_files(tmp_path, boot_bouncer=BOOT_BOUNCER)

    assert "crictl pull docker.io/team/bouncer:1\n" in (tmp_path / "node/boot-images").read_text()
    unit = (tmp_path / "node/lab-boot-images.service").read_text()
    assert "ExecStart=/bin/sh /run/lab/node/boot-images" in unit
    assert "ConditionPathExists=/run/lab/node/boot-images" in unit
    assert "ConditionPathExists=!/etc/kubernetes/admin.conf" in unit


def test_a_lab_that_boots_open_has_no_bouncer_of_the_boot(tmp_path: Path) -> None:
    node_services.write_files(tmp_path)

    assert not (tmp_path / "node/boot-bouncer.yaml").exists()
    assert not (tmp_path / "node/boot-images").exists()
