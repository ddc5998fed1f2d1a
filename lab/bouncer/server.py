"""The webhook server's life: from its options to a listening socket, and from SIGTERM to the last answer."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from lab.bouncer.certificates import CertificateFiles, ReloadingContext
from lab.bouncer.handler import Bouncer
from lab.bouncer.listener import Listener, listen
from lab.bouncer.logs import ReviewLog, configure, event
from lab.errors import EXIT_INTERRUPTED, EXIT_OK

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from lab.bouncer.policy import Policy
    from lab.bouncer.policy_file import PolicyFile

KEEPALIVE_S = 120.0
"""Longer than the API server keeps an idle connection (90 s: ``IdleConnTimeout`` of Go's default transport), so that it
is the client that closes and no request meets a closing connection."""
DRAIN_S = 25.0
"""Time for reviews that have begun when the server stops: inside the 30 s that Kubernetes grants a Pod."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to serve.

    Attributes:
        port: TCP port; 0 lets the system choose.
        address: to listen on; empty for all interfaces.
        certificates: None for plain HTTP.
        policies: all must agree; none allows every image that can be read.
        policy_file: further ones, which change with a file.
        review_log: file for the record of reviews; None keeps none.
        debug: log whole reviews.
    """

    port: int
    address: str = ""
    certificates: CertificateFiles | None = None
    policies: tuple[Policy, ...] = ()
    policy_file: PolicyFile | None = None
    review_log: Path | None = None
    debug: bool = False

    def current_policies(self) -> tuple[Policy, ...]:
        """Every policy that holds now."""
        return self.policies if self.policy_file is None else (*self.policies, *self.policy_file.current)


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, then drain.

    Returns:
        The exit code.

    Raises:
        LabError: it could not start; the hint says what to do.
    """
    configure(debug=settings.debug)
    tls = None if settings.certificates is None else ReloadingContext(settings.certificates)
    review_log = ReviewLog(settings.review_log)
    try:
        with listen(settings.address, settings.port) as listening:
            _announce(settings, listening.getsockname())
            bouncing = _serve(listening, settings=settings, tls=tls, review_log=review_log)
            return EXIT_INTERRUPTED if asyncio.run(bouncing) is signal.SIGINT else EXIT_OK
    finally:
        review_log.close()


async def _serve(
    listening: socket.socket, *, settings: Settings, tls: ReloadingContext | None, review_log: ReviewLog
) -> signal.Signals:
    stopped = _stop_signal()
    bouncer = Bouncer(policies=settings.current_policies, review_log=review_log)
    runner = web.AppRunner(
        bouncer.application(),
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        shutdown_timeout=1.0,  # what had to be waited for was drained before
        auto_decompress=False,
        logger=_http_log(),
    )
    await runner.setup()
    server = cast("Callable[[], asyncio.BaseProtocol]", runner.server)  # setup() has made it
    listener = Listener(listening, protocol=server, tls=tls)
    tasks = [asyncio.create_task(listener.serve())]
    if tls is not None:
        tasks.append(asyncio.create_task(tls.watch()))
    if settings.policy_file is not None:
        tasks.append(asyncio.create_task(settings.policy_file.watch()))
    waited: list[asyncio.Future[Any]] = [stopped, *tasks]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():  # neither ends by itself: raises what ended it
            task.result()
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    event(_log, logging.INFO, "draining", signal=stopped.result().name)
    await listener.close()
    abandoned = await bouncer.drain(timeout_s=DRAIN_S)
    await runner.cleanup()
    event(_log, logging.INFO, "stopped", abandoned=abandoned)
    return stopped.result()


def _http_log() -> logging.Logger:
    """The log of aiohttp's protocol, in which what a client broke is a warning and not an error of ours."""
    of_clients = (HttpProcessingError, web.RequestPayloadError, ConnectionError)

    def soften(record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], of_clients):
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        return True

    log = logging.getLogger(f"{__name__}.http")
    log.addFilter(soften)
    return log


def _stop_signal() -> asyncio.Future[signal.Signals]:
    """A future that the first SIGTERM or SIGINT completes; a second one changes nothing."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(number: signal.Signals) -> None:
        if not stopped.done():
            stopped.set_result(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopped


def _announce(settings: Settings, bound: tuple[str, int]) -> None:
    address, port = bound[:2]
    tls = settings.certificates
    event(
        _log,
        logging.INFO,
        "listening",
        address=address,
        port=port,
        scheme="http" if tls is None else "https",
        client_certificates="required" if tls is not None and tls.client_ca is not None else "not asked for",
    )
    if tls is None:
        event(_log, logging.WARNING, "plain-http", reason="the API server calls webhooks by https only")
    if not settings.current_policies():
        event(_log, logging.WARNING, "no-policy", reason="every image is allowed whose reference can be read")
