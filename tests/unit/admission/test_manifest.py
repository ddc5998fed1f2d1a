"""Edits of the API server's manifest, tried on what kubeadm 1.37 writes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from lab.admission.manifest import (
    FlagFile,
    Manifest,
    MountedPath,
    add_host_path,
    add_to_list_flag,
    container_path,
    disable_image_policy_webhook,
    enable_image_policy_webhook,
    flag_files,
    flag_values,
    flags_of,
    list_flag,
    mounted_paths,
    node_path_of,
    parse_manifest,
    remove_flag,
    remove_from_list_flag,
    remove_host_path,
    render_manifest,
    set_flag,
    unmounted_flag_files,
)
from lab.errors import InputError

KUBEADM_TEXT = (Path(__file__).parent / "testdata/kubeadm-kube-apiserver.yaml").read_text()


@pytest.fixture
def kubeadm() -> Manifest:
    """A manifest that kubeadm wrote with an extraVolume for the admission files and the plugin enabled."""
    return parse_manifest(KUBEADM_TEXT)


@pytest.fixture
def plain(kubeadm: Manifest) -> Manifest:
    """The same without ImagePolicyWebhook."""
    return disable_image_policy_webhook(kubeadm)


def with_command(*command: str) -> Manifest:
    return {"kind": "Pod", "spec": {"containers": [{"command": ["kube-apiserver", *command]}]}}


def test_reading_and_writing_keeps_kubeadms_text(kubeadm: Manifest) -> None:
    assert render_manifest(kubeadm) == KUBEADM_TEXT


@pytest.mark.parametrize("text", ["", "a: b", "kind: Pod", "kind: Pod\nspec: {containers: []}", "- x", "kind: Job"])
def test_what_is_no_pod_is_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_manifest(text)
    assert caught.value.code == "manifest-kind"


def test_broken_yaml_is_refused_with_its_place() -> None:
    with pytest.raises(InputError, match="line 2") as caught:
        parse_manifest("kind: Pod\n spec: [")
    assert caught.value.code == "manifest-yaml"


def test_flags_come_from_command_and_args_without_the_program() -> None:
    manifest = with_command("--a=1")
    manifest["spec"]["containers"][0]["args"] = ["--b", "2"]
    assert flags_of(manifest) == ("--a=1", "--b", "2")


def test_flag_values_are_read_as_the_api_server_reads_them() -> None:
    flags = ["--a=1", "--b", "2", "--bare", "--under_score=x", "--a=3", "-d=4"]
    assert flag_values(flags, "a") == ("1", "3")
    assert flag_values(flags, "b") == ("2",)
    assert flag_values(flags, "bare") == ("true",)
    assert flag_values(flags, "under-score") == ("x",)
    assert flag_values(flags, "d") == ("4",)
    assert flag_values(flags, "missing") == ()


def test_setting_a_flag_replaces_every_form_of_it_in_place() -> None:
    manifest = with_command("--x=0", "--the-flag=1", "--y=2", "--the_flag", "3", "--z")
    assert flags_of(set_flag(manifest, "the-flag", "9")) == ("--x=0", "--the-flag=9", "--y=2", "--z")


def test_setting_a_new_flag_puts_it_last() -> None:
    assert flags_of(set_flag(with_command("--x=0"), "new", "1")) == ("--x=0", "--new=1")


def test_setting_a_flag_that_stands_in_args_leaves_it_there() -> None:
    manifest = with_command()
    manifest["spec"]["containers"][0]["args"] = ["--a=1", "--b=2"]
    assert set_flag(manifest, "a", "9")["spec"]["containers"][0] == {
        "command": ["kube-apiserver"],
        "args": ["--a=9", "--b=2"],
    }


def test_removing_a_flag_leaves_its_neighbours() -> None:
    manifest = with_command("--ab=1", "--a", "1", "--b=2", "--a=3")
    assert flags_of(remove_flag(manifest, "a")) == ("--ab=1", "--b=2")


def test_a_list_flag_is_the_sum_of_its_occurrences() -> None:
    manifest = with_command("--enable-admission-plugins=A,B", "--enable-admission-plugins=C")
    assert list_flag(manifest, "enable-admission-plugins") == ("A", "B", "C")
    assert flags_of(add_to_list_flag(manifest, "enable-admission-plugins", "D")) == (
        "--enable-admission-plugins=A,B,C,D",
    )


def test_removing_the_last_element_removes_the_flag() -> None:
    assert flags_of(remove_from_list_flag(with_command("--p=A"), "p", "A")) == ()
    assert flags_of(remove_from_list_flag(with_command("--p=A,B"), "p", "A")) == ("--p=B",)
    assert flags_of(remove_from_list_flag(with_command("--p=A,B"), "p", "C")) == ("--p=A,B",)


def test_no_edit_changes_its_argument(kubeadm: Manifest) -> None:
    before = copy.deepcopy(kubeadm)
    set_flag(kubeadm, "secure-port", "1")
    remove_flag(kubeadm, "secure-port")
    add_to_list_flag(kubeadm, "authorization-mode", "X")
    add_host_path(kubeadm, name="x", host_path="/x", mount_path="/x")
    remove_host_path(kubeadm, "/etc/ssl/certs")
    enable_image_policy_webhook(disable_image_policy_webhook(kubeadm))
    assert kubeadm == before


def test_a_host_path_is_mounted_once_however_often_it_is_added(plain: Manifest) -> None:
    once = add_host_path(plain, name="audit", host_path="/var/log/audit", mount_path="/audit", read_only=False)
    twice = add_host_path(once, name="audit", host_path="/var/log/audit", mount_path="/audit", read_only=False)
    assert once == twice
    assert mounted_paths(once)[-1] == MountedPath(
        name="audit", host_path="/var/log/audit", mount_path="/audit", read_only=False, path_type="DirectoryOrCreate"
    )


def test_a_mount_at_the_same_place_is_replaced(plain: Manifest) -> None:
    first = add_host_path(plain, name="old", host_path="/old", mount_path="/here")
    second = add_host_path(first, name="new", host_path="/new", mount_path="/here", path_type="Directory")
    here = [mount for mount in mounted_paths(second) if mount.mount_path == "/here"]
    assert [(mount.name, mount.host_path, mount.path_type) for mount in here] == [("new", "/new", "Directory")]
    assert "old" not in [volume["name"] for volume in second["spec"]["volumes"]]


def test_a_host_path_is_removed_whatever_its_name_is(plain: Manifest) -> None:
    added = add_host_path(plain, name="odd-name", host_path="/etc/kubernetes/admission/", mount_path="/a")
    removed = remove_host_path(added, "/etc/kubernetes/admission")
    assert removed == plain


def test_enabling_gives_plugin_configuration_and_mount(plain: Manifest) -> None:
    enabled = enable_image_policy_webhook(plain)
    assert list_flag(enabled, "enable-admission-plugins") == ("NodeRestriction", "ImagePolicyWebhook")
    assert flag_values(flags_of(enabled), "admission-control-config-file") == (
        "/etc/kubernetes/admission/admission_config.yaml",
    )
    assert container_path(enabled, "/etc/kubernetes/admission/kubeconf") == "/etc/kubernetes/admission/kubeconf"
    assert unmounted_flag_files(enabled) == ()


def test_enabling_again_changes_nothing(kubeadm: Manifest) -> None:
    enabled = enable_image_policy_webhook(kubeadm)
    assert enable_image_policy_webhook(enabled) == enabled


def test_enabling_brings_back_a_lost_node_restriction() -> None:
    enabled = enable_image_policy_webhook(with_command("--enable-admission-plugins=AlwaysPullImages"))
    assert set(list_flag(enabled, "enable-admission-plugins")) == {
        "AlwaysPullImages",
        "NodeRestriction",
        "ImagePolicyWebhook",
    }


def test_disabling_leaves_no_trace_and_keeps_node_restriction(kubeadm: Manifest) -> None:
    disabled = disable_image_policy_webhook(enable_image_policy_webhook(kubeadm))
    text = render_manifest(disabled)
    assert "ImagePolicyWebhook" not in text
    assert "admission-control-config-file" not in text
    assert "/etc/kubernetes/admission" not in text
    assert list_flag(disabled, "enable-admission-plugins") == ("NodeRestriction",)
    assert disable_image_policy_webhook(disabled) == disabled


def test_enabling_elsewhere_mounts_that_directory(plain: Manifest) -> None:
    enabled = enable_image_policy_webhook(plain, config_file="/adm/config.yaml", host_dir="/srv/admission")
    assert container_path(enabled, "/srv/admission/config.yaml") == "/adm/config.yaml"
    assert unmounted_flag_files(enabled) == ()


def test_a_path_of_the_node_is_seen_where_it_is_mounted(plain: Manifest) -> None:
    manifest = add_host_path(plain, name="a", host_path="/srv/a", mount_path="/in/a")
    assert container_path(manifest, "/srv/a") == "/in/a"
    assert container_path(manifest, "/srv/a/b/c") == "/in/a/b/c"
    assert container_path(manifest, "/srv/ab") is None
    assert container_path(manifest, "/etc/passwd") is None


def test_a_deeper_mount_hides_what_lies_under_it(plain: Manifest) -> None:
    manifest = add_host_path(plain, name="a", host_path="/srv/a", mount_path="/in")
    manifest = add_host_path(manifest, name="b", host_path="/srv/b", mount_path="/in/sub")
    assert container_path(manifest, "/srv/a/sub/x") is None
    assert container_path(manifest, "/srv/b/x") == "/in/sub/x"
    assert node_path_of(mounted_paths(manifest), "/in/sub/x") == "/srv/b/x"
    assert node_path_of(mounted_paths(manifest), "/nowhere") is None


def test_kubeadms_own_flags_name_no_unmounted_file(kubeadm: Manifest) -> None:
    assert len(flag_files(flags_of(kubeadm))) > 10
    assert unmounted_flag_files(kubeadm) == ()


def test_a_flag_whose_file_is_not_mounted_is_found(plain: Manifest) -> None:
    manifest = set_flag(plain, "admission-control-config-file", "/etc/kubernetes/admission/admission_config.yaml")
    manifest = set_flag(manifest, "audit-log-path", "-")
    assert unmounted_flag_files(manifest) == (
        FlagFile(flag="admission-control-config-file", path="/etc/kubernetes/admission/admission_config.yaml"),
    )


def test_a_mount_of_another_directory_with_the_same_beginning_does_not_count(plain: Manifest) -> None:
    manifest = add_host_path(plain, name="a", host_path="/etc/kubernetes/adm", mount_path="/etc/kubernetes/adm")
    manifest = set_flag(manifest, "admission-control-config-file", "/etc/kubernetes/admission.yaml")
    assert len(unmounted_flag_files(manifest)) == 1


def test_files_in_lists_are_found_one_by_one_and_urls_are_none() -> None:
    flags = [
        "--tls-sni-cert-key=/a.crt,/a.key:example.com",
        "--etcd-prefix=/registry",
        "--etcd-servers=https://127.0.0.1:2379",
        "--authorization-always-allow-paths=/healthz,/readyz",
    ]
    assert [file.path for file in flag_files(flags)] == ["/a.crt", "/a.key"]


def test_volumes_that_are_no_host_path_are_left_alone(plain: Manifest) -> None:
    manifest = copy.deepcopy(plain)
    manifest["spec"]["volumes"].append({"name": "scratch", "emptyDir": {}})
    manifest["spec"]["containers"][0]["volumeMounts"].append({"name": "scratch", "mountPath": "/scratch"})
    assert "scratch" not in [mount.name for mount in mounted_paths(manifest)]
    assert yaml.safe_load(render_manifest(remove_host_path(manifest, "/scratch"))) == manifest
