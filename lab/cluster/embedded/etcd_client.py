"""A small client of the node's etcd: reads every key, and writes some of them, over etcd's own JSON gateway.

The API server stays the only one that *decides* what etcd holds. This client exists for the rewind (see `checkpoints`),
which puts back what the API server itself had stored before.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ENDPOINT = "https://127.0.0.1:2379"
_PKI = Path("/etc/kubernetes/pki")
_TIMEOUT_S = 10.0
_MAX_OPERATIONS = 128
"""etcd's own limit for one transaction (its flag ``--max-txn-ops``)."""
_WHOLE_KEYSPACE = {"key": "AA==", "range_end": "AA=="}
"""From the zero byte to the end, as etcd's API has it (etcdserverpb.RangeRequest)."""


class EtcdUnavailable(LabError):  # noqa: N818 - a state of etcd, read as such where it is caught
    """etcd did not answer, or refused."""

    def __init__(self, cause: BaseException | str) -> None:
        super().__init__("etcd-unavailable", f"etcd does not answer: {cause}", hint="see lab logs etcd, then lab reset")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What etcd holds under a key.

    Attributes:
        value: the bytes that the API server wrote.
        leased: whether it goes by itself when a lease runs out.
    """

    value: bytes
    leased: bool


class EtcdClient:
    """A client of the node's etcd with the API server's credentials.

    Must be made inside a running event loop, and closed.

    Args:
        endpoint: URL whose host is an IP address.
        tls: how to verify the server and who to be; None for the API server's own files on the node.

    Raises:
        EtcdUnavailable: the files cannot be read.
    """

    def __init__(self, endpoint: str = ENDPOINT, tls: ssl.SSLContext | None = None) -> None:
        self._endpoint = endpoint
        try:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=tls or _credentials()),
                timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S),
                trust_env=False,
            )
        except OSError as error:  # ssl.SSLError is one too
            raise EtcdUnavailable(error) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def read(self) -> dict[str, Stored]:
        """Everything that etcd holds at one revision, by key.

        Raises:
            EtcdUnavailable: it did not answer.
        """
        answer = await self._post("/v3/kv/range", _WHOLE_KEYSPACE)
        return {
            base64.b64decode(item["key"]).decode(): Stored(
                value=base64.b64decode(item.get("value", "")), leased=item.get("lease", "0") != "0"
            )
            for item in answer.get("kvs") or ()
        }

    async def write(self, *, put: Mapping[str, bytes], delete: Iterable[str]) -> None:
        """Delete some keys, then write some, of which each may be one that was deleted.

        What is written appears at once, and what is deleted goes at once, as far as etcd's transactions reach.

        Raises:
            EtcdUnavailable: it did not answer, or refused.
        """
        await self._in_transactions([{"requestDeleteRange": {"key": _encoded(key.encode())}} for key in delete])
        await self._in_transactions(
            [{"requestPut": {"key": _encoded(key.encode()), "value": _encoded(value)}} for key, value in put.items()]
        )

    async def _in_transactions(self, operations: Sequence[Mapping[str, Any]]) -> None:
        for first in range(0, len(operations), _MAX_OPERATIONS):
            await self._post("/v3/kv/txn", {"success": operations[first : first + _MAX_OPERATIONS]})

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with self._session.post(self._endpoint + path, json=body) as response:
                answer: dict[str, Any] = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise EtcdUnavailable(error or type(error).__name__) from error
        if response.status != HTTPStatus.OK:
            raise EtcdUnavailable(str(answer.get("message") or response.status))
        return answer


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _credentials() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=_PKI / "etcd/ca.crt")
    context.load_cert_chain(_PKI / "apiserver-etcd-client.crt", _PKI / "apiserver-etcd-client.key")
    return context
