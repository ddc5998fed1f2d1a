from __future__ import annotations

import asyncio
import base64
import socket
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from lab.cluster.embedded import pod_volumes
from lab.cluster.embedded.api_client import ApiClient, WatchEvent
from lab.cluster.embedded.api_errors import ApiError
from lab.cluster.embedded.atomic_volume import FileProjection, write_volume
from lab.cluster.embedded.pod_environment import PodContext
from lab.cluster.embedded.pod_volumes import PodVolumes, VolumeError, resolve_host_path
from lab.cluster.embedded.sandbox import Bind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path


def encoded(**data: str) -> dict[str, str]:
    return {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}


class FakeApi:
    """Secrets and ConfigMaps by path and name, with watches, refusals on demand, and a TokenRequest endpoint."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.watchers: dict[tuple[str, str], list[asyncio.Queue[WatchEvent]]] = defaultdict(list)
        self.refusals = 0
        self.tokens: list[dict[str, Any]] = []
        self.granted_s = 3600.0

    def put(self, collection: str, name: str, **content: Any) -> None:
        path = f"/api/v1/namespaces/shop/{collection}"
        found = {"metadata": {"name": name, "namespace": "shop", "resourceVersion": "2"}, **content}
        kind = "MODIFIED" if (path, name) in self.objects else "ADDED"
        self.objects[path, name] = found
        self._tell(path, name, WatchEvent(type=kind, object=found))

    def drop(self, collection: str, name: str) -> None:
        path = f"/api/v1/namespaces/shop/{collection}"
        self._tell(path, name, WatchEvent(type="DELETED", object=self.objects.pop((path, name))))

    def _tell(self, path: str, name: str, event: WatchEvent) -> None:
        for queue in self.watchers[path, name]:
            queue.put_nowait(event)

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        if self.refusals:
            self.refusals -= 1
            message = "no relationship found between node 'lab' and this object"
            raise ApiError(request=path, status=403, reason="Forbidden", message=message, body={})
        found = self.objects.get((path, self._name(params)))
        return {"kind": "List", "metadata": {"resourceVersion": "1"}, "items": [found] if found else []}

    async def watch(
        self, path: str, params: Mapping[str, str] | None = None, *, timeout_s: float = 300.0
    ) -> AsyncIterator[WatchEvent]:
        del timeout_s
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self.watchers[path, self._name(params)].append(queue)
        while True:
            yield await queue.get()

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.tokens.append({"path": path, **body["spec"]})
        return {"spec": {"expirationSeconds": self.granted_s}, "status": {"token": f"token-{len(self.tokens)}"}}

    @staticmethod
    def _name(params: Mapping[str, str] | None) -> str:
        return (params or {})["fieldSelector"].removeprefix("metadata.name=")


def pod_context(volumes: list[dict[str, Any]], **metadata: Any) -> PodContext:
    pod = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}, **metadata},
        "spec": {"serviceAccountName": "sa", "volumes": volumes, "containers": [{"name": "c"}]},
    }
    return PodContext(pod=pod, pod_ip="10.0.0.5", node_ip="172.30.0.2")


def container(*mounts: dict[str, Any]) -> dict[str, Any]:
    return {"name": "c", "volumeMounts": list(mounts)}


Test = Callable[[PodVolumes, FakeApi], Awaitable[None]]


def run_with(tmp_path: Path, volumes: list[dict[str, Any]], test: Test, api: FakeApi | None = None) -> None:
    @asynccontextmanager
    async def opened(api: FakeApi) -> AsyncIterator[PodVolumes]:
        directory = tmp_path / "volumes"
        found = PodVolumes(pod_context(volumes), directory=directory, client=cast("ApiClient", api), host_root=tmp_path)
        try:
            yield found
        finally:
            await found.close()
            assert not directory.exists()

    async def run() -> None:
        fake = api or FakeApi()
        async with asyncio.timeout(30), opened(fake) as found:
            await test(found, fake)

    asyncio.run(run())


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


TLS = {"name": "tls", "secret": {"secretName": "pair", "defaultMode": 0o640}}
MOUNT_TLS = {"name": "tls", "mountPath": "/certs"}


# --- Secrets and ConfigMaps


def test_a_secret_is_mounted_read_only_in_the_layout_of_the_atomic_writer(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("secrets", "pair", data=encoded(tls_crt="CERT", tls_key="KEY"))
        (bind,) = await volumes.mounts(container(MOUNT_TLS))
        assert bind == Bind(source=tmp_path / "volumes" / "tls", target="/certs", read_only=True)
        assert (bind.source / "tls.crt").read_text() == "CERT"
        assert (bind.source / "tls.crt").readlink().as_posix() == "..data/tls.crt"
        assert (bind.source / "..data").is_symlink()
        assert (bind.source / "tls.key").stat().st_mode & 0o777 == 0o640

    run_with(tmp_path, [TLS], test)


def test_a_missing_secret_is_told_in_the_kubelets_words_and_taken_once_it_is_there(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        with pytest.raises(VolumeError) as caught:
            await volumes.mounts(container(MOUNT_TLS))
        assert caught.value.message == 'MountVolume.SetUp failed for volume "tls" : secret "pair" not found'
        api.put("secrets", "pair", data=encoded(tls_crt="CERT"))
        await asyncio.sleep(0.01)
        (bind,) = await volumes.mounts(container(MOUNT_TLS))
        assert (bind.source / "tls.crt").read_text() == "CERT"

    run_with(tmp_path, [TLS], test)


def test_changes_reach_the_files_while_the_pod_runs_and_a_deletion_leaves_them(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("secrets", "pair", data={})
        (bind,) = await volumes.mounts(container(MOUNT_TLS))
        assert not (bind.source / "tls.crt").exists()
        await asyncio.sleep(0.01)  # the watch begins after the list
        api.put("secrets", "pair", data=encoded(tls_crt="NEW", extra="x"))
        await eventually((bind.source / "tls.crt").exists)
        api.put("secrets", "pair", data=encoded(tls_crt="NEWER"))
        await eventually(lambda: (bind.source / "tls.crt").read_text() == "NEWER")
        assert not (bind.source / "extra").exists()
        api.drop("secrets", "pair")
        await asyncio.sleep(0.02)
        assert (bind.source / "tls.crt").read_text() == "NEWER"

    run_with(tmp_path, [TLS], test)


def test_a_refusal_of_the_node_authoriser_is_waited_out(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("secrets", "pair", data=encoded(tls_crt="CERT"))
        api.refusals = 2
        (bind,) = await volumes.mounts(container(MOUNT_TLS))
        assert (bind.source / "tls.crt").read_text() == "CERT"

    run_with(tmp_path, [TLS], test)


def test_a_refusal_that_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod_volumes, "_FIRST_LIST_S", 0.05)

    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.refusals = 1000
        with pytest.raises(VolumeError, match='for volume "tls" : no relationship found between node'):
            await volumes.mounts(container(MOUNT_TLS))

    run_with(tmp_path, [TLS], test)


def test_items_choose_paths_and_modes(tmp_path: Path) -> None:
    items = [{"key": "a", "path": "deep/down.txt", "mode": 0o400}, {"key": "b", "path": "b"}]
    volume = {"name": "cm", "configMap": {"name": "conf", "items": items}}

    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("configmaps", "conf", data={"a": "A", "c": "not chosen"}, binaryData=encoded(b="B"))
        (bind,) = await volumes.mounts(container({"name": "cm", "mountPath": "/etc/conf"}))
        assert (bind.source / "deep/down.txt").read_text() == "A"
        assert (bind.source / "deep/down.txt").stat().st_mode & 0o777 == 0o400
        assert (bind.source / "b").read_text() == "B"
        assert not (bind.source / "c").exists()

    run_with(tmp_path, [volume], test)


@pytest.mark.parametrize(
    ("volume", "cause"),
    [
        ({"configMap": {"name": "conf"}}, 'configmap "conf" not found'),
        (
            {"secret": {"secretName": "there", "items": [{"key": "no", "path": "p"}]}},
            "references non-existent secret key: no",
        ),
        ({"persistentVolumeClaim": {"claimName": "x"}}, "not offered by the lab's embedded backend"),
        ({"image": {"reference": "nginx"}}, "not offered by the lab's embedded backend: image"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "embedded backend: clusterTrustBundle"),
    ],
)
def test_what_cannot_be_mounted_says_why(tmp_path: Path, volume: dict[str, Any], cause: str) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("secrets", "there", data=encoded(k="v"))
        with pytest.raises(VolumeError, match=cause):
            await volumes.mounts(container())

    run_with(tmp_path, [{"name": "v", **volume}], test)


def test_an_optional_object_gives_an_empty_directory(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, _: FakeApi) -> None:
        (bind,) = await volumes.mounts(container({"name": "v", "mountPath": "/v"}))
        assert [one.name for one in bind.source.iterdir() if not one.name.startswith("..")] == []

    run_with(tmp_path, [{"name": "v", "secret": {"secretName": "gone", "optional": True}}], test)


# --- projected, downward API, emptyDir, subPath

API_ACCESS = {
    "name": "kube-api-access",
    "projected": {
        "defaultMode": 0o644,
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        ],
    },
}
MOUNT_ACCESS = {"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}


def test_the_projected_token_is_bound_to_the_pod_and_lies_beside_ca_and_namespace(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("configmaps", "kube-root-ca.crt", data={"ca.crt": "CA"})
        (bind,) = await volumes.mounts(container(MOUNT_ACCESS))
        files = {name: (bind.source / name).read_text() for name in ("token", "ca.crt", "namespace")}
        assert files == {"token": "token-1", "ca.crt": "CA", "namespace": "shop"}
        await volumes.mounts(container(MOUNT_ACCESS))
        reference = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "u-1"}
        path = "/api/v1/namespaces/shop/serviceaccounts/sa/token"
        assert api.tokens == [{"path": path, "audiences": [], "expirationSeconds": 3607, "boundObjectRef": reference}]

    run_with(tmp_path, [API_ACCESS], test)


def test_a_token_is_renewed_before_its_time_is_over(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("configmaps", "kube-root-ca.crt", data={"ca.crt": "CA"})
        api.granted_s = 0.1
        (bind,) = await volumes.mounts(container(MOUNT_ACCESS))
        assert (bind.source / "token").read_text() == "token-1"
        await eventually(lambda: (bind.source / "token").read_text() == "token-2")

    run_with(tmp_path, [API_ACCESS], test)


def test_downward_api_files_follow_the_labels(tmp_path: Path) -> None:
    item = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    volume = {"name": "info", "downwardAPI": {"items": [item]}}

    async def test(volumes: PodVolumes, _: FakeApi) -> None:
        (bind,) = await volumes.mounts(container({"name": "info", "mountPath": "/info"}))
        assert (bind.source / "labels").read_text() == 'app="web"'
        volumes.update(pod_context([volume], labels={"app": "changed"}))
        assert (bind.source / "labels").read_text() == 'app="changed"'

    run_with(tmp_path, [volume], test)


def test_an_empty_dir_is_writable_and_shared_by_the_containers(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, _: FakeApi) -> None:
        (one,) = await volumes.mounts(container({"name": "tmp", "mountPath": "/tmp"}))  # noqa: S108 - in the container
        (one.source / "f").write_text("x")
        (two,) = await volumes.mounts(container({"name": "tmp", "mountPath": "/data", "readOnly": True}))
        assert (two.source, two.target, two.read_only) == (one.source, "/data", True)
        assert (two.source / "f").read_text() == "x"
        assert not one.read_only
        assert one.source.stat().st_mode & 0o777 == 0o777

    run_with(tmp_path, [{"name": "tmp", "emptyDir": {}}], test)


def test_a_sub_path_is_the_file_as_it_is_now_and_makes_directories_only_where_one_may_write(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, api: FakeApi) -> None:
        api.put("secrets", "pair", data=encoded(tls_crt="CERT"))
        file, made, named = await volumes.mounts(
            container(
                {**MOUNT_TLS, "mountPath": "/x/cert.pem", "subPath": "tls.crt"},
                {"name": "tmp", "mountPath": "/d", "subPath": "made/here"},
                {"name": "tmp", "mountPath": "/n", "subPathExpr": "$(POD)"},
            ),
            {"POD": "web"},
        )
        assert file.source.read_text() == "CERT"
        assert not file.source.is_symlink()
        assert made.source == tmp_path / "volumes/tmp/made/here"
        assert made.source.is_dir()
        assert named.source.name == "web"
        for bad in ("../../etc", "/etc", "absent"):
            with pytest.raises(VolumeError, match='failed to prepare subPath for volumeMount "tls" of container "c"'):
                await volumes.mounts(container({**MOUNT_TLS, "subPath": bad}))

    run_with(tmp_path, [TLS, {"name": "tmp", "emptyDir": {}}], test)


def test_a_link_in_a_volume_cannot_lead_a_sub_path_out_of_it(tmp_path: Path) -> None:
    async def test(volumes: PodVolumes, _: FakeApi) -> None:
        (whole,) = await volumes.mounts(container({"name": "tmp", "mountPath": "/d"}))
        (whole.source / "out").symlink_to(tmp_path)
        with pytest.raises(VolumeError, match="failed to prepare subPath"):
            await volumes.mounts(container({"name": "tmp", "mountPath": "/d", "subPath": "out"}))

    run_with(tmp_path, [{"name": "tmp", "emptyDir": {}}], test)


# --- hostPath


def test_host_paths_in_a_pod_name_the_volume_in_the_error(tmp_path: Path) -> None:
    volume = {"name": "pki", "hostPath": {"path": "/etc/pki", "type": "Directory"}}

    async def test(volumes: PodVolumes, _: FakeApi) -> None:
        mount = container({"name": "pki", "mountPath": "/pki"})
        with pytest.raises(VolumeError) as caught:
            await volumes.mounts(mount)
        assert caught.value.message == (
            'MountVolume.SetUp failed for volume "pki" : hostPath type check failed, /etc/pki is not a directory, '
            'unable to determine its type: path "/etc/pki" does not exist'
        )
        (tmp_path / "etc/pki").mkdir(parents=True)
        assert await volumes.mounts(mount) == [Bind(source=tmp_path / "etc/pki", target="/pki")]

    run_with(tmp_path, [volume], test)


def test_host_path_types(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "sock"))
    for path, kind in [("/dir", "Directory"), ("/file", "File"), ("/sock", "Socket"), ("/dir", ""), ("/file", "")]:
        assert resolve_host_path(path, kind, tmp_path) == tmp_path / path[1:]
    for path, kind in [("/new/dir", "DirectoryOrCreate"), ("/unset/dir", ""), ("/dir", "DirectoryOrCreate")]:
        assert resolve_host_path(path, kind, tmp_path).is_dir()
    assert resolve_host_path("/dir/new", "FileOrCreate", tmp_path).is_file()


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("/file", "Directory", "hostPath type check failed: /file is not a directory, it's a File"),
        ("/file", "DirectoryOrCreate", "hostPath type check failed: /file is not a directory, it's a File"),
        ("/dir", "File", "hostPath type check failed: /dir is not a file, it's a Directory"),
        ("/dir", "FileOrCreate", "hostPath type check failed: /dir is not a file, it's a Directory"),
        ("/dir", "Socket", "hostPath type check failed: /dir is not a socket file, it's a Directory"),
        ("/dir", "Folder", "Folder is an invalid volume type"),
        (
            "/gone",
            "File",
            (
                "hostPath type check failed, /gone is not a file, unable to determine its type: "
                'path "/gone" does not exist'
            ),
        ),
    ],
)
def test_a_host_path_of_another_type_is_refused_as_by_a_kubelet(
    tmp_path: Path, path: str, kind: str, message: str
) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(VolumeError) as caught:
        resolve_host_path(path, kind, tmp_path)
    assert caught.value.message == message


def test_a_file_is_not_made_in_a_directory_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="no such file or directory"):
        resolve_host_path("/none/file", "FileOrCreate", tmp_path)


# --- the atomic writer


def files(**content: str) -> dict[str, FileProjection]:
    return {name: FileProjection(data=text.encode(), mode=0o644) for name, text in content.items()}


def test_an_unchanged_payload_is_not_written_again(tmp_path: Path) -> None:
    assert write_volume(tmp_path, files(a="1"))
    first = (tmp_path / "..data").readlink()
    assert not write_volume(tmp_path, files(a="1"))
    assert (tmp_path / "..data").readlink() == first
    assert write_volume(tmp_path, files(a="2"))
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith("..2")] == [
        (tmp_path / "..data").readlink().name
    ]


def test_a_file_that_was_opened_before_a_change_keeps_its_content(tmp_path: Path) -> None:
    write_volume(tmp_path, files(a="old", gone="x"))
    with (tmp_path / "a").open() as opened:
        write_volume(tmp_path, files(a="new"))
        assert opened.read() == "old"
    assert (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "gone").is_symlink()
