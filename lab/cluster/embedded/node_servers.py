"""The servers of the node that are no Pods: its resolver, and the registries of the lab's images.

Apart from `node`, because the static pods need none of them: they are started before these libraries are loaded.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from lab.cluster.embedded.addresses import DNS_PORT, NODE_RESOLVER_IP
from lab.cluster.embedded.node_services import NodeService
from lab.cluster.embedded.programs import on_node
from lab.cluster.embedded.resolver import DnsServer, NodeResolver
from lab.images.endpoint import Endpoint
from lab.images.private import HTPASSWD
from lab.images.registry import ENVIRONMENT as REGISTRY_ENVIRONMENT
from lab.images.registry import RegistryConfig
from lab.images.registry import command as registry_command
from lab.images.resolve import ImageResolver

if TYPE_CHECKING:
    from pathlib import Path

    from lab.cluster.embedded.children import Children
    from lab.cluster.embedded.layout import LabLayout, LabSettings

REGISTRY_ADDRESS = "127.0.0.1:5000"
PRIVATE_REGISTRY_ADDRESS = "127.0.0.1:5001"
_REGISTRY_START_S = 10.0
_POLL_S = 0.02


class NodeServers:
    """They run for as long as the lab, whether the cluster is frozen or not.

    Args:
        layout: the lab's directory as the node sees it.
        settings: what the lab is made of.
        children: starts and reaps processes.

    Attributes:
        images: says which images the registries have.
    """

    def __init__(self, layout: LabLayout, settings: LabSettings, children: Children) -> None:
        self._layout = layout
        self._settings = settings
        self._children = children
        self._private_registry: asyncio.Task[Endpoint] | None = None
        self._dns = DnsServer(NodeResolver(), (NODE_RESOLVER_IP, DNS_PORT))
        self.images = ImageResolver(Endpoint(address=REGISTRY_ADDRESS), private=self._private_endpoint)

    async def start(self) -> None:
        """Start all but the registry that asks for a password."""
        self._registry("registry", Endpoint(address=REGISTRY_ADDRESS)).start()
        await self._dns.start()
        await self.images.__aenter__()

    def _registry(self, name: str, endpoint: Endpoint, *, htpasswd: Path | None = None) -> NodeService:
        config = self._layout.run / f"{name}.yaml"
        storage = on_node(self._settings.registry_storage)
        config.write_text(RegistryConfig(endpoint=endpoint, root=storage, htpasswd=htpasswd, read_only=True).render())
        return NodeService(
            name,
            registry_command(on_node(self._settings.programs["registry"]), config),
            environment=REGISTRY_ENVIRONMENT,
            log=self._layout.logs / f"{name}.log",
            children=self._children,
        )

    async def _private_endpoint(self) -> Endpoint:
        """Where the registry that asks for a password answers; it is started when a Pod needs it first."""
        if self._private_registry is None:
            self._private_registry = asyncio.create_task(self._start_private_registry())
        return await asyncio.shield(self._private_registry)

    async def _start_private_registry(self) -> Endpoint:
        htpasswd = self._layout.run / "htpasswd"
        htpasswd.write_text(HTPASSWD)
        endpoint = Endpoint(address=PRIVATE_REGISTRY_ADDRESS)
        self._registry("private-registry", endpoint, htpasswd=htpasswd).start()
        await _until_it_listens(endpoint)
        return endpoint


async def _until_it_listens(endpoint: Endpoint) -> None:
    """Wait a while for a server of the node; whoever asks one that never listens tells the refusal."""
    deadline = asyncio.get_running_loop().time() + _REGISTRY_START_S
    host, _, port = endpoint.address.rpartition(":")
    while asyncio.get_running_loop().time() < deadline:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except ConnectionRefusedError:
            await asyncio.sleep(_POLL_S)
        else:
            writer.close()
            return
