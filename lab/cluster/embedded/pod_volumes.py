"""A Pod's volumes as directories of the node, kept up to date while the Pod runs.

Secrets and ConfigMaps are watched one by one (as a kubelet may: the node authoriser lets a node read only what its Pods
refer to), so that a change reaches the files within a fraction of a second. What is missing is waited for: `mounts`
raises `VolumeError` in the words of the kubelet's FailedMount event, and is called again. A 403, which the node
authoriser may answer for a moment after a Pod was bound, is nothing else.

Service account tokens come from the TokenRequest API, bound to the Pod, and are renewed as by a kubelet
(``pkg/kubelet/token/token_manager.go``): at 80 % of their life, or after 24 hours.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
import shutil
import stat
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lab.cluster.embedded.api_errors import ApiError, ApiUnavailable
from lab.cluster.embedded.atomic_volume import FileProjection, write_volume
from lab.cluster.embedded.informer import Informer
from lab.cluster.embedded.pod_environment import ContainerConfigError, expand, pod_field, resource_field
from lab.cluster.embedded.sandbox import Bind
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lab.cluster.embedded.api_client import ApiClient
    from lab.cluster.embedded.memory import Memory
    from lab.cluster.embedded.pod_environment import PodContext

log = logging.getLogger(__name__)

_FIRST_LIST_S = 1.0
"""How long `mounts` waits for the first list of a Secret or ConfigMap before it says that it cannot be had."""
_DEFAULT_MODE = 0o644
_EMPTY_DIR_MODE = 0o777
_TOKEN_LIFE_S = 3607
_RENEW_AT = 0.8
_RENEW_AFTER_S = 24 * 3600.0
_RENEW_RETRY_S = 10.0

_Key = tuple[str, str]
"""Collection (``secrets`` or ``configmaps``) and name."""


class VolumeError(LabError):
    """A volume that cannot be mounted as yet.

    Args:
        cause: why, in the kubelet's words.
        volume: its name; empty when only a path is known.
    """

    def __init__(self, cause: str, *, volume: str = "") -> None:
        super().__init__(
            "failed-mount",
            f'MountVolume.SetUp failed for volume "{volume}" : {cause}' if volume else cause,
            hint="create what the volume refers to, or mend the reference; it is tried again by itself",
        )
        self.cause = cause
        self.volume = volume


# --- hostPath ------------------------------------------------------------------------------------------------------


def resolve_host_path(path: str, kind: str, root: Path) -> Path:
    """The file or directory behind a hostPath, checked and made as its type says.

    Args:
        path: absolute path on the node.
        kind: the volume's ``type``; empty for none, which checks nothing and makes a missing directory, as container
            runtimes do.
        root: the node's root directory.

    Raises:
        VolumeError: it is not of that type; the text is that of Kubernetes 1.37 (``pkg/volume/hostpath``).
    """
    target = root / path.lstrip("/")
    exists = target.exists()
    try:
        if kind in {"", "DirectoryOrCreate"} and not exists:
            target.mkdir(mode=0o755, parents=True, exist_ok=True)
            return target
        if kind == "FileOrCreate" and not exists:
            target.touch(mode=0o644)
            return target
    except OSError as error:
        raise VolumeError(f"{error.filename or path}: {(error.strerror or str(error)).lower()}") from error
    if not kind:
        return target
    expected = _EXPECTED.get(kind)
    if expected is None:
        raise VolumeError(f"{kind} is an invalid volume type")
    if not exists:
        cause = f'unable to determine its type: path "{path}" does not exist'
        raise VolumeError(f"hostPath type check failed, {path} is not a {expected}, {cause}")
    found = _file_type(target)
    if found != kind.removesuffix("OrCreate"):
        raise VolumeError(f"hostPath type check failed: {path} is not a {expected}, it's a {found}")
    return target


_EXPECTED = {
    "Directory": "directory",
    "DirectoryOrCreate": "directory",
    "File": "file",
    "FileOrCreate": "file",
    "Socket": "socket file",
    "CharDevice": "character device",
    "BlockDevice": "block device",
}
_TYPES: Sequence[tuple[Callable[[int], bool], str]] = (
    (stat.S_ISDIR, "Directory"),
    (stat.S_ISREG, "File"),
    (stat.S_ISSOCK, "Socket"),
    (stat.S_ISCHR, "CharDevice"),
    (stat.S_ISBLK, "BlockDevice"),
)


def _file_type(path: Path) -> str:
    mode = path.stat().st_mode
    return next((name for matches, name in _TYPES if matches(mode)), "")


# --- volumes of a Pod ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Token:
    value: str
    renew_at: float


class PodVolumes:
    """The volumes of one Pod.

    Args:
        context: the Pod and what its node knows about it.
        directory: a directory of its own; `close` removes it.
        client: client of the API server.
        memory: Secrets and ConfigMaps to begin with.
        host_root: the node's root directory, for hostPath.
    """

    def __init__(
        self,
        context: PodContext,
        *,
        directory: Path,
        client: ApiClient,
        memory: Memory | None = None,
        host_root: Path = Path("/"),
    ) -> None:
        self._context = context
        self._memory = memory
        self._directory = directory
        self._client = client
        self._host_root = host_root
        self._sources: dict[str, Path] = {}
        self._informers: dict[_Key, Informer] = {}
        self._tokens: dict[tuple[str, str], _Token] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal: asyncio.Task[None] | None = None

    def update(self, context: PodContext) -> None:
        """Take a newer version of the Pod: labels and annotations may stand in downward API files."""
        self._context = context
        self._refresh()

    async def mounts(self, container: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> list[Bind]:
        """What a container mounts, once all of the Pod's volumes are there.

        Args:
            container: the container of the Pod.
            environment: its environment, for ``subPathExpr``.

        Raises:
            VolumeError: a volume cannot be had as yet; call again.
        """
        await self._set_up()
        return [self._bind(container, mount, environment or {}) for mount in container.get("volumeMounts") or ()]

    async def close(self) -> None:
        """End every watch and remove the directory."""
        tasks = [*self._tasks, *([self._renewal] if self._renewal else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        shutil.rmtree(self._directory, ignore_errors=True)

    # Setting up

    async def _set_up(self) -> None:
        volumes = self._context.pod["spec"].get("volumes") or ()
        self._watch_all(volumes)
        await self._first_lists()
        for volume in volumes:
            name = volume["name"]
            if name not in self._sources:
                try:
                    self._sources[name] = await self._prepare(volume)
                except VolumeError as error:
                    raise VolumeError(error.cause, volume=name) from error
                except (ApiError, ApiUnavailable, ContainerConfigError) as error:
                    raise VolumeError(error.message, volume=name) from error
        if self._tokens and self._renewal is None:
            self._renewal = asyncio.create_task(self._renew_tokens())

    def _watch_all(self, volumes: Sequence[Mapping[str, Any]]) -> None:
        namespace = self._context.namespace
        wanted = {key for volume in volumes for key in volume_references(volume)}
        for collection, name in wanted - self._informers.keys():
            informer = Informer(
                self._client,
                f"/api/v1/namespaces/{namespace}/{collection}",
                params={"fieldSelector": f"metadata.name={name}"},
                on_change=lambda _old, _new: self._refresh(),
                memory=self._memory,
            )
            self._informers[collection, name] = informer
            self._tasks.add(asyncio.create_task(informer.run()))

    async def _first_lists(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LIST_S):
                for informer in self._informers.values():
                    await informer.synced.wait()

    async def _prepare(self, volume: Mapping[str, Any]) -> Path:
        """Make one volume and return its path on the node."""
        if (host := volume.get("hostPath")) is not None:
            return resolve_host_path(str(host["path"]), str(host.get("type") or ""), self._host_root)
        path = self._directory / str(volume["name"])
        if "emptyDir" in volume:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(_EMPTY_DIR_MODE)
            return path
        await self._fetch_tokens(volume)
        write_volume(path, self._payload(volume))
        return path

    def _refresh(self) -> None:
        """Write again the volumes that are mounted; one that has lost its source keeps what it has, as on a node."""
        for volume in self._context.pod["spec"].get("volumes") or ():
            if volume["name"] in self._sources and "hostPath" not in volume and "emptyDir" not in volume:
                try:
                    write_volume(self._sources[volume["name"]], self._payload(volume))
                except (VolumeError, ContainerConfigError) as error:
                    pod = self._context.pod["metadata"]["name"]
                    log.info("volume %s of pod %s/%s: %s", volume["name"], self._context.namespace, pod, error.message)

    # What the files hold

    def _payload(self, volume: Mapping[str, Any]) -> dict[str, FileProjection]:
        if (projected := volume.get("projected")) is not None:
            default = _mode_of(projected)
            payload: dict[str, FileProjection] = {}
            for source in projected.get("sources") or ():
                payload |= self._source_payload(source, default, volume["name"])
            return payload
        for kind in ("secret", "configMap", "downwardAPI"):
            if (source := volume.get(kind)) is not None:
                named = {**source, "name": source.get("secretName") or source.get("name")}
                return self._source_payload({kind: named}, _mode_of(source), volume["name"])
        kinds = ", ".join(sorted(set(volume) - {"name"}))
        raise VolumeError(f"volumes of this kind are not offered by the lab's embedded backend: {kinds}")

    def _source_payload(self, source: Mapping[str, Any], default: int, volume: str) -> dict[str, FileProjection]:
        if (secret := source.get("secret")) is not None:
            found = self._object("secrets", secret)
            data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
            return _select(data, secret, default, "references non-existent secret key")
        if (config_map := source.get("configMap")) is not None:
            found = self._object("configmaps", config_map)
            data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
            data |= {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
            return _select(data, config_map, default, "configmap references non-existent config key")
        if (downward := source.get("downwardAPI")) is not None:
            return {
                str(PurePosixPath(one["path"])): self._downward(one, default) for one in downward.get("items") or ()
            }
        if (token := source.get("serviceAccountToken")) is not None:
            return {
                token["path"]: FileProjection(data=self._tokens[volume, token["path"]].value.encode(), mode=default)
            }
        kinds = ", ".join(sorted(source))
        raise VolumeError(f"projections of this kind are not offered by the lab's embedded backend: {kinds}")

    def _object(self, collection: str, source: Mapping[str, Any]) -> Mapping[str, Any]:
        informer, name = self._informers[collection, source["name"]], source["name"]
        found = informer.get(self._context.namespace, name)
        if found is not None:
            return found
        if not informer.synced.is_set():
            problem = informer.problem
            raise VolumeError(problem.message if problem else f"failed to sync {collection.removesuffix('s')} {name}")
        if source.get("optional"):
            return {}
        raise VolumeError(f'{collection.removesuffix("s")} "{name}" not found')

    def _downward(self, item: Mapping[str, Any], default: int) -> FileProjection:
        mode = int(item["mode"]) if item.get("mode") is not None else default
        if field := item.get("fieldRef"):
            return FileProjection(data=pod_field(self._context, str(field["fieldPath"])).encode(), mode=mode)
        value = resource_field(self._context, {}, item["resourceFieldRef"])
        return FileProjection(data=value.encode(), mode=mode)

    # Tokens

    async def _fetch_tokens(self, volume: Mapping[str, Any]) -> None:
        for token in _tokens_of(volume):
            key = (volume["name"], token["path"])
            known = self._tokens.get(key)
            if known is None or known.renew_at <= time.monotonic():
                self._tokens[key] = await self._request_token(token)

    async def _request_token(self, token: Mapping[str, Any]) -> _Token:
        pod = self._context.pod
        account = pod["spec"].get("serviceAccountName") or "default"
        life_s = int(token.get("expirationSeconds") or _TOKEN_LIFE_S)
        reference = {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [token["audience"]] if token.get("audience") else [],
                "expirationSeconds": life_s,
                "boundObjectRef": reference,
            },
        }
        path = f"/api/v1/namespaces/{self._context.namespace}/serviceaccounts/{account}/token"
        answer = await self._client.create(path, request)
        granted_s = float(answer["spec"].get("expirationSeconds") or life_s)
        renew_at = time.monotonic() + min(granted_s * _RENEW_AT, _RENEW_AFTER_S)
        return _Token(value=str(answer["status"]["token"]), renew_at=renew_at)

    async def _renew_tokens(self) -> None:
        while True:
            due = min(token.renew_at for token in self._tokens.values())
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            try:
                for volume in self._context.pod["spec"].get("volumes") or ():
                    await self._fetch_tokens(volume)
            except (ApiError, ApiUnavailable) as error:
                log.warning("a service account token could not be renewed: %s", error.message)
                await asyncio.sleep(_RENEW_RETRY_S)
            self._refresh()

    # Mounting

    def _bind(self, container: Mapping[str, Any], mount: Mapping[str, Any], environment: Mapping[str, str]) -> Bind:
        name = mount["name"]
        source = self._sources[name]
        volume = next(one for one in self._context.pod["spec"]["volumes"] if one["name"] == name)
        always_read_only = "hostPath" not in volume and "emptyDir" not in volume
        sub_path = str(mount.get("subPath") or expand(str(mount.get("subPathExpr") or ""), environment))
        if sub_path:
            source = _sub_path(source, sub_path, mount=name, container=container["name"], writable=not always_read_only)
        target = str(PurePosixPath("/") / mount["mountPath"])
        return Bind(source=source, target=target, read_only=bool(mount.get("readOnly")) or always_read_only)


def _sub_path(volume: Path, sub_path: str, *, mount: str, container: str, writable: bool) -> Path:
    """A path below a volume, links followed: the file as it is now, which later updates do not reach."""
    problem = f'failed to prepare subPath for volumeMount "{mount}" of container "{container}"'
    if ".." in PurePosixPath(sub_path).parts or sub_path.startswith("/"):
        raise VolumeError(problem)
    root, target = volume.resolve(), (volume / sub_path).resolve()
    if not target.is_relative_to(root):
        raise VolumeError(problem)
    if not target.exists():
        if not writable:
            raise VolumeError(problem)
        target.mkdir(parents=True)
    return target


def volume_references(volume: Mapping[str, Any]) -> Iterator[_Key]:
    """The Secrets and ConfigMaps that a volume refers to: collection and name."""
    sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    for source in sources:
        if (secret := source.get("secret")) is not None:
            yield "secrets", secret.get("secretName") or secret["name"]
        if (config_map := source.get("configMap")) is not None:
            yield "configmaps", config_map["name"]


def _tokens_of(volume: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for source in (volume.get("projected") or {}).get("sources") or ():
        if (token := source.get("serviceAccountToken")) is not None:
            yield token


def _mode_of(source: Mapping[str, Any]) -> int:
    mode = source.get("defaultMode")
    return _DEFAULT_MODE if mode is None else int(mode)


def _select(
    data: Mapping[str, bytes], source: Mapping[str, Any], default: int, missing: str
) -> dict[str, FileProjection]:
    """All keys, or those that ``items`` names, under the paths and modes given there."""
    items = source.get("items")
    if not items:
        return {key: FileProjection(data=value, mode=default) for key, value in data.items()}
    payload: dict[str, FileProjection] = {}
    for item in items:
        if item["key"] in data:
            mode = int(item["mode"]) if item.get("mode") is not None else default
            payload[str(PurePosixPath(item["path"]))] = FileProjection(data=data[item["key"]], mode=mode)
        elif not source.get("optional"):
            raise VolumeError(f"{missing}: {item['key']}")
    return payload
