"""HTTP in, reviews through the policies, answers out.

What it promises the API server: a denial is HTTP 200 with ``allowed: false`` (any other status is a failed backend, and
a failed backend lets images in where ``defaultAllow`` is true); what is not a review gets 4xx; a review that has
begun is answered, also while the server stops.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING

from aiohttp import web

from lab.bouncer.logs import ReviewLog, event, timestamp
from lab.bouncer.policy import judge
from lab.bouncer.review import Review, ReviewKind, decode, encode, parse_json
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lab.bouncer.policy import Policy, Verdict

BODY_LIMIT = 3 * 1024 * 1024
"""Bytes of a request: what the API server itself accepts (``MaxRequestBodyBytes``, k8s.io/apiserver, config.go)."""
BODY_TIMEOUT_S = 30.0
"""The longest that the API server waits for a webhook."""
SERVER = "image-bouncer"
"""Says who answered, and not with which versions of what."""
HEALTH_PATH = "/healthz"
ADMISSION_PATH = "/validate"
ROOT_PATH = "/"
"""Takes both kinds: the original kube-image-bouncer serves its validating webhook here."""
_log = logging.getLogger(__name__)


class Bouncer:
    """Answers requests.

    Args:
        policies: gives what images must satisfy, when a review begins.
        review_log: where reviews are recorded.
    """

    def __init__(self, *, policies: Callable[[], tuple[Policy, ...]], review_log: ReviewLog) -> None:
        self._policies = policies
        self._review_log = review_log
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    def application(self) -> web.Application:
        """The aiohttp application that serves every path."""
        application = web.Application(client_max_size=BODY_LIMIT)
        application.router.add_route("*", "/{path:.*}", self.handle)
        return application

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; while draining, each answer ends its connection."""
        self._in_flight += 1
        self._idle.clear()
        try:
            response: web.StreamResponse = await self._respond(request)
        except web.HTTPException as refusal:
            event(
                _log,
                logging.WARNING,
                "refused",
                status=refusal.status,
                method=request.method,
                path=request.path,
                peer=request.remote,
                reason=refusal.text,
            )
            response = web.Response(status=refusal.status, text=f"{refusal.text}\n", headers=_allow(refusal))
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
        response.headers["Server"] = SERVER
        if self._draining:
            response.force_close()
        return response

    async def drain(self, *, timeout_s: float) -> int:
        """Wait for the requests that have begun.

        Returns:
            How many had to be given up.
        """
        self._draining = True
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return self._in_flight
        return 0

    async def _respond(self, request: web.Request) -> web.Response:
        if request.path == HEALTH_PATH:
            if request.method not in {"GET", "HEAD"}:
                raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD"], text=f"{HEALTH_PATH} answers GET")
            return web.Response(text="ok")
        started = time.perf_counter()
        body = await _read(request)
        try:
            document = parse_json(body)
            review = decode(document, accepted=_accepted(request.path))
        except InputError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        verdict = judge(review.images, self._policies())
        answer = encode(review, verdict)
        self._record(request, review, verdict, elapsed_ms=(time.perf_counter() - started) * 1000)
        if _log.isEnabledFor(logging.DEBUG):
            event(_log, logging.DEBUG, "review-document", review=document, answer=answer)
        return web.Response(text=json.dumps(answer), content_type="application/json")

    def _record(self, request: web.Request, review: Review, verdict: Verdict, *, elapsed_ms: float) -> None:
        entry: dict[str, object] = {
            "kind": review.kind.value,
            "path": request.path,
            "operation": review.operation,
            "resource": review.resource,
            "namespace": review.namespace,
            "images": list(review.images),
            "verdict": "allowed" if verdict.allowed else "denied",
            "reason": verdict.reason,
            "policies": sorted({finding.policy for finding in verdict.findings}),
            "uid": review.uid,
            "peer": request.remote or "",
            "peer_certificate": _common_name(request),
            "user_agent": request.headers.get("User-Agent", ""),
            "ms": round(elapsed_ms, 3),
        }
        self._review_log.append({"time": timestamp(time.time())} | entry)
        event(_log, logging.INFO, "review", **{key: value for key, value in entry.items() if value not in ("", [])})


async def _read(request: web.Request) -> bytes:
    """The body of a POST that may be a review."""
    if request.method != "POST":
        raise web.HTTPMethodNotAllowed(request.method, ["POST"], text="a review is sent with POST")
    content_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":  # the API server compresses no webhook call, and what is unpacked can be any size
        raise web.HTTPUnsupportedMediaType(text=f"a review is not compressed, got {encoding}")
    if content_type and content_type != "application/json" and not content_type.endswith("+json"):
        raise web.HTTPUnsupportedMediaType(text=f"a review is application/json, got {content_type}")
    too_large = f"a review has at most {BODY_LIMIT} bytes, as any request of the API server"
    if (request.content_length or 0) > BODY_LIMIT:
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0, text=too_large)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, BODY_LIMIT + 1, text=too_large) from error
    except web.RequestPayloadError as error:
        raise web.HTTPBadRequest(text=f"the body cannot be read: {error}") from error
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_TIMEOUT_S:g} s") from error


def _accepted(path: str) -> tuple[ReviewKind, ...]:
    """The kinds of review that a path takes."""
    if path == ADMISSION_PATH:
        return (ReviewKind.ADMISSION_REVIEW,)
    if path == ROOT_PATH:
        return (ReviewKind.IMAGE_REVIEW, ReviewKind.ADMISSION_REVIEW)
    return (ReviewKind.IMAGE_REVIEW,)


def _allow(refusal: web.HTTPException) -> Mapping[str, str]:
    return {"Allow": refusal.headers["Allow"]} if "Allow" in refusal.headers else {}


def _common_name(request: web.Request) -> str:
    """The subject's common name in the client's certificate; empty without one."""
    certificate = request.get_extra_info("peercert") or {}
    for attribute in certificate.get("subject", ()):
        for key, value in attribute:
            if key == "commonName":
                return str(value)
    return ""
