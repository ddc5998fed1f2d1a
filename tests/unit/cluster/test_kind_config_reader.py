"""The strict reader of the cluster definition: what it takes, what it refuses, and what it says about it."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

from lab.admission.boot import write_boot_files
from lab.cluster.definition import (
    ClusterDefinition,
    Networking,
    check_host_paths,
    parse_cluster_definition,
    read_cluster_definition,
)
from lab.cluster.definition.model import DEFAULT_NODE_IMAGE
from lab.errors import InputError

ROOT_FILE = Path(__file__).parents[3] / "kind-config.yaml"
ROOT_TEXT = ROOT_FILE.read_text()
HEAD = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n"


def parse(text: str) -> ClusterDefinition:
    return parse_cluster_definition(text, file="k.yaml")


def refused(text: str) -> list[str]:
    """What is said about each fault."""
    with pytest.raises(InputError) as caught:
        parse(text)
    assert caught.value.code == "invalid-file"
    head, *lines = caught.value.message.splitlines()
    assert head.startswith("the cluster definition has ")
    return [line.strip() for line in lines]


def patched(*patches: str, nodes: str = "") -> str:
    """A definition with merge patches; the first patch's text begins on line 5 (after any nodes)."""
    blocks = "".join("- |\n" + indent(dedent(patch), "  ") for patch in patches)
    return HEAD + nodes + "kubeadmConfigPatches:\n" + blocks


def cluster_patch(body: str, *, version: str = "kubeadm.k8s.io/v1beta4") -> str:
    head = f"apiVersion: {version}\n" if version else ""
    return f"{head}kind: ClusterConfiguration\n{dedent(body)}"


def edited(old: str, new: str) -> tuple[str, int]:
    """The project's own file with one edit, and the line of the edit."""
    assert ROOT_TEXT.count(old) == 1
    return ROOT_TEXT.replace(old, new), ROOT_TEXT[: ROOT_TEXT.index(old)].count("\n") + 1


def test_the_projects_own_file_says_what_the_design_says() -> None:
    definition = read_cluster_definition(ROOT_FILE)
    assert [node.role for node in definition.nodes] == ["control-plane"]
    assert definition.node_image == DEFAULT_NODE_IMAGE
    assert [(mount.host_path, mount.container_path) for mount in definition.extra_mounts] == [
        ("admission", "/etc/kubernetes/admission"),
        ("audit", "/etc/kubernetes/audit"),
    ]
    assert definition.networking == Networking()
    configuration = definition.cluster_configuration
    assert configuration["encryptionAlgorithm"] == "ECDSA-P256"
    assert {argument["name"]: argument["value"] for argument in configuration["apiServer"]["extraArgs"]} == {
        "enable-admission-plugins": "NodeRestriction,ImagePolicyWebhook",
        "admission-control-config-file": "/etc/kubernetes/admission/admission_config.yaml",
        "audit-policy-file": "/etc/kubernetes/audit/policy.yaml",
        "audit-log-path": "/var/log/kubernetes/audit/audit.log",
    }
    assert {argument["name"]: argument["value"] for argument in configuration["etcd"]["local"]["extraArgs"]} == {
        "unsafe-no-fsync": "true",
        "heartbeat-interval": "20",
        "election-timeout": "100",
    }


def test_the_boot_files_are_what_the_projects_own_file_mounts(tmp_path: Path) -> None:
    definition = read_cluster_definition(ROOT_FILE)
    with pytest.raises(InputError) as caught:
        check_host_paths(definition, tmp_path)
    lines = [mount.line for mount in definition.extra_mounts]
    assert [f"kind-config.yaml:{line}: " in caught.value.message for line in lines] == [True, True]
    write_boot_files(tmp_path)
    check_host_paths(definition, tmp_path)
    (tmp_path / "audit/policy.yaml").unlink()
    (tmp_path / "audit").rmdir()
    with pytest.raises(InputError, match=re.escape("nodes[0].extraMounts[1].hostPath")) as caught:
        check_host_paths(definition, tmp_path)
    assert "1 fault" in caught.value.message


def test_every_file_that_a_flag_names_is_among_the_boot_files(tmp_path: Path) -> None:
    write_boot_files(tmp_path)
    definition = read_cluster_definition(ROOT_FILE)
    named = {
        argument["name"]: argument["value"] for argument in definition.cluster_configuration["apiServer"]["extraArgs"]
    }
    for flag in ("admission-control-config-file", "audit-policy-file"):
        (mount,) = [mount for mount in definition.extra_mounts if named[flag].startswith(mount.container_path)]
        assert (tmp_path / mount.host_path / Path(named[flag]).name).is_file()


def test_the_smallest_definition_has_kinds_defaults() -> None:
    definition = parse(HEAD)
    assert definition.node_image == DEFAULT_NODE_IMAGE
    assert definition.name == "kind"
    assert definition.networking == Networking()
    assert definition.cluster_configuration == {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
    }


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read") as caught:
        read_cluster_definition(tmp_path / "missing.yaml")
    assert caught.value.code == "cluster-definition"
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(InputError, match="cannot read"):
        read_cluster_definition(tmp_path / "latin.yaml")


def test_everything_that_kind_takes_is_taken() -> None:
    definition = parse(
        HEAD
        + dedent(
            """
            name: not-default
            featureGates: {AllBeta: false}
            runtimeConfig: {api/all: true, batch/v2: "false"}
            networking:
              ipFamily: dual
              apiServerPort: 6443
              apiServerAddress: 0.0.0.0
              disableDefaultCNI: true
              kubeProxyMode: nftables
              dnsSearch: [example.com]
            containerdConfigPatches: ["[plugins]"]
            containerdConfigPatchesJSON6902: ["[]"]
            nodes:
            - role: worker
            - role: control-plane
              image: kindest/node:v1.36.4
              labels: {tier: 1, on-site: true}
              extraMounts:
              - {hostPath: /bar, containerPath: /foo, readOnly: true, selinuxRelabel: false, propagation: Bidirectional}
              extraPortMappings:
              - {containerPort: 80, hostPort: 8080, listenAddress: 127.0.0.1, protocol: udp}
              - {containerPort: 80, hostPort: 8080, listenAddress: 127.0.0.1}
              - {containerPort: 81}
              - {containerPort: 82, hostPort: -1}
            - role: worker
              extraMounts:
            """
        )
    )
    assert definition.name == "not-default"
    assert definition.runtime_config == {"api/all": "true", "batch/v2": "false"}
    assert definition.networking.pod_subnet == "10.244.0.0/16,fd00:10:244::/56"
    assert definition.control_plane.labels == {"tier": "1", "on-site": "true"}
    assert [node.role for node in definition.nodes] == ["worker", "control-plane", "worker"]
    (mount,) = definition.extra_mounts
    assert (mount.propagation, mount.read_only) == ("Bidirectional", True)
    assert [mapping.protocol for mapping in definition.port_mappings] == ["UDP", "TCP", "TCP", "TCP"]


def test_a_map_of_arguments_in_a_patch_without_a_version_is_converted() -> None:
    definition = parse(patched(cluster_patch("apiServer: {extraArgs: {v: '4'}}\n", version="")))
    assert definition.cluster_configuration["apiServer"]["extraArgs"] == [{"name": "v", "value": "4"}]


def test_a_list_in_a_patch_without_a_version_is_taken_too() -> None:
    definition = parse(patched(cluster_patch("apiServer: {extraArgs: [{name: v, value: '4'}]}\n", version="")))
    assert definition.cluster_configuration["apiServer"]["extraArgs"] == [{"name": "v", "value": "4"}]


def test_patches_may_hold_several_documents_and_the_name_that_kind_gives() -> None:
    text = patched(
        "kind: ClusterConfiguration\nmetadata:\n  name: config\nscheduler: {extraArgs: [{name: v, value: '1'}]}\n"
        "---\nkind: InitConfiguration\nnodeRegistration: {kubeletExtraArgs: {node-labels: 'a=b'}}\n"
        "---\nkind: KubeletConfiguration\nmaxPods: 20\n"
        "---\nkind: KubeProxyConfiguration\nmode: ipvs\n"
        "---\nkind: JoinConfiguration\nnodeRegistration: {taints: []}\n"
    )
    definition = parse(text)
    assert [patch.kind for patch in definition.patches] == [
        "ClusterConfiguration",
        "InitConfiguration",
        "KubeletConfiguration",
        "KubeProxyConfiguration",
        "JoinConfiguration",
    ]
    assert "metadata" not in definition.cluster_configuration


def test_only_the_control_planes_own_patches_are_kept() -> None:
    text = HEAD + dedent(
        """
        nodes:
        - role: worker
          kubeadmConfigPatches: ["{kind: JoinConfiguration, dryRun: false}"]
        - role: control-plane
          kubeadmConfigPatches: ["{kind: ClusterConfiguration, clusterName: node}"]
        kubeadmConfigPatches: ["{kind: ClusterConfiguration, clusterName: cluster, imageRepository: x}"]
        """
    )
    definition = parse(text)
    assert [patch.kind for patch in definition.patches] == ["ClusterConfiguration", "ClusterConfiguration"]
    assert definition.cluster_configuration["clusterName"] == "node"
    assert definition.cluster_configuration["imageRepository"] == "x"


@pytest.mark.parametrize(
    ("old", "new", "path", "says", "remedy"),
    [
        ("kind: Cluster\n", "kind: Clutser\n", "kind", "'Clutser'", "write 'Cluster'"),
        (
            "apiVersion: kind.x-k8s.io/v1alpha4",
            "apiVersion: kind.sigs.k8s.io/v1alpha3",
            "apiVersion",
            "is not a value",
            "kind.x-k8s.io/v1alpha4",
        ),
        ("    extraMounts:", "    extraMount:", "nodes[0].extraMount", "unknown key", "write extraMounts"),
        (
            "      - hostPath: admission",
            "      - hostpath: admission",
            "nodes[0].extraMounts[0]",
            "'hostPath' is missing",
            "",
        ),
        (
            "        readOnly: true\nkubeadm",
            "        readOnly: yes\nkubeadm",
            "nodes[0].extraMounts[1].readOnly",
            "yes is a boolean",
            "write true",
        ),
        (
            "        containerPath: /etc/kubernetes/audit",
            "        containerPath: etc/kubernetes/audit",
            "nodes[0].extraMounts[1].containerPath",
            "not an absolute path",
            "begin it with a slash",
        ),
        (
            "    encryptionAlgorithm: ECDSA-P256",
            "    encryptionAlgorithm: ECDSA-P255",
            "kubeadmConfigPatches[0].encryptionAlgorithm",
            "'ECDSA-P255'",
            "'ECDSA-P256'",
        ),
        (
            "    encryptionAlgorithm: ECDSA-P256",
            "    encriptionAlgorithm: ECDSA-P256",
            "kubeadmConfigPatches[0].encriptionAlgorithm",
            "unknown key",
            "write encryptionAlgorithm",
        ),
        (
            "    kind: ClusterConfiguration",
            "    kind: ClusterConfig",
            "kubeadmConfigPatches[0].kind",
            "applies a patch of kind 'ClusterConfig' to nothing",
            "write ClusterConfiguration",
        ),
        (
            "    apiVersion: kubeadm.k8s.io/v1beta4",
            "    apiVersion: kubeadm.k8s.io/v1beta3",
            "kubeadmConfigPatches[0].apiVersion",
            "to nothing",
            "leave apiVersion out",
        ),
        (
            "          value: NodeRestriction,ImagePolicyWebhook",
            "          value: NodeRestriction,ImagePolicyWebHook",
            "kubeadmConfigPatches[0].apiServer.extraArgs[0]",
            "no admission plugin 'ImagePolicyWebHook'",
            "write ImagePolicyWebhook",
        ),
        (
            "          value: NodeRestriction,ImagePolicyWebhook",
            "          value: NodeRestriction, ImagePolicyWebhook",
            "kubeadmConfigPatches[0].apiServer.extraArgs[0]",
            "no admission plugin ' ImagePolicyWebhook'",
            "write ImagePolicyWebhook",
        ),
        (
            "          value: /etc/kubernetes/admission/admission_config.yaml",
            "          value: /etc/kubernetes/adm/admission_config.yaml",
            "kubeadmConfigPatches[0].apiServer.extraArgs[1]",
            "not mounted into the container",
            "add an entry to extraVolumes",
        ),
        (
            "          hostPath: /etc/kubernetes/admission\n",
            "          hostPath: /srv/admission\n",
            "kubeadmConfigPatches[0].apiServer.extraArgs[1]",
            "is /srv/admission/admission_config.yaml on the node, and nothing puts that file there",
            "add an extraMount",
        ),
        (
            "          readOnly: false",
            "          readOnly: true",
            "kubeadmConfigPatches[0].apiServer.extraArgs[3]",
            "read-only volume audit-log",
            "readOnly: false",
        ),
        (
            '            value: "true"',
            "            value: true",
            "kubeadmConfigPatches[0].etcd.local.extraArgs[0].value",
            "not a string: True",
            "put it in quotes",
        ),
        (
            "          - name: unsafe-no-fsync",
            "          - name: --unsafe-no-fsync",
            "kubeadmConfigPatches[0].etcd.local.extraArgs[0]",
            "begins with dashes",
            "write unsafe-no-fsync",
        ),
        (
            "          - name: unsafe-no-fsync",
            "          - nam: unsafe-no-fsync",
            "kubeadmConfigPatches[0].etcd.local.extraArgs[0]",
            "has no name",
            "- name: FLAG",
        ),
    ],
)
def test_one_fault_in_the_projects_own_file_is_told_with_line_path_and_remedy(
    old: str, new: str, path: str, says: str, remedy: str
) -> None:
    text, line = edited(old, new)
    faults = [fault for fault in refused(text) if path in fault]
    (fault,) = [fault for fault in faults if says in fault]
    number, where = re.match(r"k\.yaml:(\d+): (\S+): ", fault).groups()  # type: ignore[union-attr]
    assert where == path
    # An argument's fault is told at its name, one line above the value.
    assert line - int(number) in (0, 1) or says.startswith(("is /srv", "read-only"))
    assert remedy in fault


def test_wrong_indentation_is_told_with_its_line() -> None:
    (fault,) = refused(HEAD + "nodes:\n- role: control-plane\n   image: x\n")
    assert re.match(r"k\.yaml:[45]: not valid YAML", fault)


def test_wrong_indentation_inside_a_patch_is_told_with_the_line_of_the_file() -> None:
    (fault,) = refused(patched("kind: ClusterConfiguration\napiServer:\n  certSANs: []\n extraArgs: []\n"))
    assert fault.startswith("k.yaml:8: kubeadmConfigPatches[0]: not valid YAML")


def test_a_duplicate_key_is_told_in_the_file_and_in_a_patch() -> None:
    text = patched(cluster_patch("clusterName: a\nclusterName: b\n"), nodes="nodes: []\nnodes: []\n")
    first, second = refused(text)
    assert first.startswith("k.yaml:4: nodes: the key is there twice, first on line 3")
    assert second.startswith("k.yaml:10: kubeadmConfigPatches[0].clusterName: the key is there twice, first on line 9")


def test_a_map_of_arguments_beside_a_version_is_told_because_kind_drops_it() -> None:
    (fault,) = refused(patched(cluster_patch("apiServer:\n  extraArgs:\n    v: '4'\n")))
    assert fault.startswith(
        "k.yaml:8: kubeadmConfigPatches[0].apiServer.extraArgs: kind drops extraArgs without a word"
    )
    assert "leave apiVersion out" in fault


def test_all_faults_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = patched(
        cluster_patch(
            """\
            apiServer:
              extraArgs:
                enable-admission-plugins: NodeRestrictions
                audit-policy-file: /nowhere/policy.yaml
              extraVolume: []
            """
        ),
        "kind: Nonsense\n",
        nodes="nodes:\n- role: controlplane\n  extraMounts: yes\nfeatureGates: {A: on}\n",
    )
    faults = refused(text)
    assert len({fault.split(": ")[1] for fault in faults}) == len(faults), "a place is told once"
    lines = [int(fault.split(":")[1]) for fault in faults]
    assert lines == sorted(lines)
    for said in (
        "'controlplane' is not a value",
        "yes is a boolean",
        "on is a boolean",
        "kind drops extraArgs",
        "unknown key 'extraVolume'",
        "of kind 'Nonsense' to nothing",
    ):
        assert any(said in fault for fault in faults), said


def test_unknown_keys_hide_no_other_fault() -> None:
    text = HEAD + dedent(
        """
        nodez: []
        nodes:
        - role: worker
          rolle: worker
        kubeadmConfigPatches:
        - |
          kind: ClusterConfiguration
          apiServerr: {}
          apiServer: {extraArgs: {audit-policy-file: /nowhere}}
        """
    )
    faults = refused(text)
    assert len(faults) == 5
    for said in ("'nodez'", "'rolle'", "'apiServerr'", "no node is a control plane", "/nowhere, which is not mounted"):
        assert any(said in fault for fault in faults), said


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ("- role: worker\n", "no node is a control plane"),
        (
            "- extraMounts: [{hostPath: a, containerPath: /x}, {hostPath: b, containerPath: /x}]\n",
            "/x is mounted already, by extraMounts[0]",
        ),
        (
            (
                "- extraPortMappings:\n"
                "  - {containerPort: 1, hostPort: 80}\n"
                "  - {containerPort: 2, hostPort: 80, listenAddress: 127.0.0.1}\n"
            ),
            "port 80/TCP of the host is mapped already",
        ),
        ("- extraPortMappings: [{containerPort: 70000}]\n", "70000 is no port"),
        ("- extraPortMappings: [{containerPort: 1, listenAddress: here}]\n", "'here' is no IP address"),
        ("- extraPortMappings: [{containerPort: 1, protocol: ICMP}]\n", "'ICMP' is not a value"),
        ("- extraMounts: [{hostPath: '', containerPath: /x}]\n", "at least 1 character"),
        ("- kubeadmConfigPatches:\n  - kind: ClusterConfiguration\n", "should be a valid string"),
        ("- 1\n", "should be"),
    ],
)
def test_a_node_that_cannot_be_made_is_told(nodes: str, says: str) -> None:
    (fault,) = refused(HEAD + "nodes:\n" + nodes)
    assert says in fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: No_Name", "no cluster name"),
        ("networking: {podSubnet: 10.0.0.0}", ""),
        ("networking: {podSubnet: ten}", "'ten' is no subnet"),
        ("networking: {ipFamily: ipv5}", "'ipv5'"),
        ("networking: {kubeProxyMode: ebpf}", "'ebpf'"),
        ("networking: {apiServerPort: '6443'}", "valid integer"),
        ("featureGates: {A: 'true'}", "valid boolean"),
        ("networkin: {}", "write networking"),
    ],
)
def test_a_wrong_value_is_told(text: str, says: str) -> None:
    if not says:
        assert parse(HEAD + text).networking.pod_subnet == "10.0.0.0"
        return
    (fault,) = refused(HEAD + text)
    assert says in fault


@pytest.mark.parametrize("text", ["", "[]", "just text", "a: 1\n---\nb: 2\n"])
def test_what_is_no_definition_at_all_is_told(text: str) -> None:
    assert len(refused(text)) == 1


@pytest.mark.parametrize(
    ("patch", "says"),
    [
        ("just text\n", "a patch is a mapping"),
        ("apiServer: {}\n", "the patch names no kind"),
        ("kind: [ClusterConfiguration]\n", "to nothing"),
        ("kind: ClusterConfiguration\napiServer: {extraArgs: text}\n", "neither a list nor a map"),
        ("kind: ClusterConfiguration\napiServer: {extraArgs: {v: 4}}\n", "value of v is not a string: 4"),
        (
            "kind: ClusterConfiguration\napiServer: {extraArgs: [{name: v, valeu: '4'}]}\n",
            "unknown key 'valeu'",
        ),
        ("kind: ClusterConfiguration\napiServer: {certSANs: [1]}\n", "certSANs[0]: the value should be a valid string"),
        ("kind: ClusterConfiguration\napiServer: {extraVolumes: [{name: x}]}\n", "'hostPath' is missing"),
        ("kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1\n", "to nothing"),
        (
            "kind: ClusterConfiguration\netcd: {local: {extraArgs: {cert-file: /srv/etcd.crt}}}\n",
            "not mounted into etcd's container",
        ),
        (
            "kind: ClusterConfiguration\nscheduler: {extraArgs: {config: /etc/kubernetes/pki/x}}\n",
            "--config names /etc/kubernetes/pki/x, which is not mounted",
        ),
        (
            (
                "kind: ClusterConfiguration\napiServer:\n  extraVolumes:\n"
                "  - {name: x, hostPath: /srv, mountPath: /srv, pathType: Directory}\n"
            ),
            "pathType Directory asks for /srv, which nothing puts on the node",
        ),
    ],
)
def test_a_patch_that_would_not_work_is_told(patch: str, says: str) -> None:
    faults = refused(patched(patch))
    assert [fault for fault in faults if says in fault], faults


@pytest.mark.parametrize(
    "patch",
    [
        # Below kubeadm's own mounts.
        "apiServer: {extraArgs: {oidc-ca-file: /etc/kubernetes/pki/oidc.crt}}",
        "apiServer: {extraArgs: {oidc-ca-file: /etc/ssl/certs/oidc.crt}}",
        "controllerManager: {extraArgs: {kubeconfig: /etc/kubernetes/controller-manager.conf}}",
        "scheduler: {extraArgs: {kubeconfig: /etc/kubernetes/scheduler.conf}}",
        "etcd: {local: {extraArgs: {cert-file: /etc/kubernetes/pki/etcd/server.crt}}}",
        "{certificatesDir: /srv/pki, apiServer: {extraArgs: {oidc-ca-file: /srv/pki/oidc.crt}}}",
        # No files.
        "apiServer: {extraArgs: {etcd-prefix: /registry, audit-log-path: '-'}}",
        # A directory that the runtime makes.
        "apiServer: {extraVolumes: [{name: x, hostPath: /srv, mountPath: /srv, pathType: DirectoryOrCreate}]}",
        "apiServer: {extraVolumes: [{name: x, hostPath: /srv, mountPath: /srv}]}",
        # null deletes.
        "apiServer: {extraArgs: {v: null}, certSANs: null, extraVolumes: null}",
    ],
)
def test_a_patch_that_works_is_taken(patch: str) -> None:
    body = patch.removeprefix("{").removesuffix("}") if patch.startswith("{") else patch
    assert parse(HEAD + f'kubeadmConfigPatches: ["{{kind: ClusterConfiguration, {body}}}"]\n')


def test_a_later_patch_mends_an_earlier_one() -> None:
    wrong = cluster_patch("apiServer: {extraArgs: [{name: audit-policy-file, value: /nowhere}]}\n")
    mended = cluster_patch("apiServer: {extraArgs: [{name: audit-policy-file, value: /etc/kubernetes/pki/a}]}\n")
    assert parse(patched(wrong, mended)).cluster_configuration["apiServer"]["extraArgs"] == [
        {"name": "audit-policy-file", "value": "/etc/kubernetes/pki/a"}
    ]
    (fault,) = refused(patched(mended, wrong))
    assert "kubeadmConfigPatches[1].apiServer.extraArgs[0]" in fault


def test_a_node_image_whose_kubeadm_would_not_see_the_patch_is_told() -> None:
    nodes = "nodes:\n- image: kindest/node:v1.35.8\n"
    (fault,) = refused(patched(cluster_patch("clusterName: x\n"), nodes=nodes))
    assert fault.startswith("k.yaml:4: nodes[0].image: ")
    assert parse(patched(cluster_patch("clusterName: x\n", version=""), nodes=nodes)).node_image.endswith("v1.35.8")


def json_patched(operations: str, *, kind: str = "ClusterConfiguration", version: str = "v1beta4") -> str:
    return HEAD + (
        "kubeadmConfigPatchesJSON6902:\n"
        f"- group: kubeadm.k8s.io\n  version: {version}\n  kind: {kind}\n  patch: |\n"
        + indent(dedent(operations), "    ")
    )


def test_a_json_patch_is_applied_to_what_kind_generates() -> None:
    definition = parse(
        json_patched(
            """\
            - {op: add, path: /apiServer/certSANs/-, value: my-hostname}
            - {op: add, path: /apiServer/extraArgs/-, value: {name: v, value: '4'}}
            - {op: test, path: /networking/podSubnet, value: 10.244.0.0/16}
            - {op: replace, path: /networking/podSubnet, value: 10.1.0.0/16}
            - {op: remove, path: /controllerManager/extraArgs/0}
            - {op: copy, from: /networking/podSubnet, path: /networking/dnsDomain}
            """
        )
    )
    assert definition.cluster_configuration["apiServer"] == {
        "certSANs": ["my-hostname"],
        "extraArgs": [{"name": "v", "value": "4"}],
    }
    assert definition.cluster_configuration["networking"] == {"podSubnet": "10.1.0.0/16", "dnsDomain": "10.1.0.0/16"}


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ("- {op: remove, path: /no/such}\n", "operation 0 (remove /no/such) does not apply"),
        ("- {op: add, path: /apiServer/certSANs/9, value: x}\n", "does not apply: index 9"),
        ("- {op: test, path: /clusterName, value: x}\n", "the value is another one"),
        ("- {op: add, path: clusterName, value: x}\n", "begins with a slash"),
        ("- {op: add, path: /clusterName}\n", "add needs 'value'"),
        ("- {op: ad, path: /clusterName, value: x}\n", "not an operation"),
        ("{op: add}\n", "is a list of operations"),
        (
            "- {op: add, path: /apiServer/extraArgs/-, value: v=4}\n",
            "an argument is not a mapping with a name and a value",
        ),
        ("- {op: add, path: /apiServer/extraArgs, value: {v: '4'}}\n", "an argument is not a mapping"),
        ("- {op: add, path: /apiServer/extraArgs/-, value: {name: v}}\n", "an argument is not a mapping"),
        ("- {op: remove, path: /apiVersion}\n", "it has lost its kind or its apiVersion"),
        ("- {op: [add], path: /clusterName}\n", "not an operation"),
        ("- {op: add, path: /bogus, value: 1}\n", "leaves a ClusterConfiguration that is none: bogus"),
        ("- {op: remove, path: /kind}\n", "it has lost its kind or its apiVersion"),
        ("- {op: add, path: /apiServer/extraArgs/-, value: {name: audit-policy-file, value: /x}}\n", "not mounted"),
    ],
)
def test_a_json_patch_that_does_not_apply_is_told(operations: str, says: str) -> None:
    (fault,) = refused(json_patched(operations))
    assert says in fault
    assert "kubeadmConfigPatchesJSON6902[0]" in fault


@pytest.mark.parametrize(("kind", "version"), [("ClusterConfig", "v1beta4"), ("ClusterConfiguration", "v1beta3")])
def test_a_json_patch_for_nothing_is_told(kind: str, version: str) -> None:
    (fault,) = refused(json_patched("- {op: add, path: /clusterName, value: x}\n", kind=kind, version=version))
    assert "to nothing" in fault


def test_the_example_in_the_documentation_is_what_the_reader_says() -> None:
    text = ROOT_TEXT.replace("NodeRestriction,ImagePolicyWebhook", "NodeRestriction,ImagePolicyWebHook")
    text = text.replace("value: /etc/kubernetes/admission/", "value: /etc/kubernetes/adm/")
    with pytest.raises(InputError) as caught:
        parse_cluster_definition(text, file="kind-config.yaml")
    page = (ROOT_FILE.parent / "docs/cluster-definition.md").read_text()
    assert indent(caught.value.message, "    ") in page
