"""The webhook that the API server asks in these tests; it runs on the lab's node: ``backend.py DIRECTORY PORT``.

It does what ``DIRECTORY/behaviour.json`` says at that moment (see `Behaviour` in conftest.py), down to how it speaks
TLS, and appends a line to ``DIRECTORY/reviews.jsonl`` for each ImageReview. Only one namespace is its business: what
the system itself creates meanwhile is let in and not recorded. The standard library is all that it needs. It answers
HTTP/1.0, so each review comes on a connection of its own, and a change of TLS is seen by the next one.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERIFICATION = {
    "mutual": (ssl.CERT_REQUIRED, "ca.crt"),
    "optional": (ssl.CERT_OPTIONAL, "ca.crt"),
    "distrusts-client": (ssl.CERT_REQUIRED, "other-ca.crt"),
}
HANDSHAKE_TIMEOUT_S = 10.0
TLS_HANDSHAKE = b"\x16"
"""With this byte, a TLS client begins."""


class Backend(ThreadingHTTPServer):
    """Serves on the node's loopback."""

    daemon_threads = True

    def __init__(self, directory: Path, port: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.directory = directory
        self.counts: dict[str, int] = {}
        self.lock = threading.Lock()

    def behaviour(self) -> dict[str, Any]:
        """What to do now."""
        text = (self.directory / "behaviour.json").read_text()
        found: dict[str, Any] = json.loads(text)
        return found

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, in its own thread, over TLS unless told otherwise."""
        mode = self.behaviour()["tls"]
        if mode == "plain":
            if request.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                # A ClientHello need not hold the end of a line, for which the handler would wait.
                request.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
                _drain(request)
            else:
                super().finish_request(request, client_address)
            return
        request.settimeout(HANDSHAKE_TIMEOUT_S)
        with request.dup() as bare:
            try:
                secured = self._context(mode).wrap_socket(request, server_side=True)
            except OSError:
                _drain(bare)
                return
        with secured:
            super().finish_request(secured, client_address)

    def _context(self, mode: str) -> ssl.SSLContext:
        verification, authority = VERIFICATION[mode]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.directory / "server.crt", self.directory / "server.key")
        context.load_verify_locations(self.directory / authority)
        context.verify_mode = verification
        return context

    def record(self, turn: str, entry: dict[str, Any]) -> int:
        """Append a review to the record; how many of this turn came before it."""
        with self.lock, (self.directory / "reviews.jsonl").open("a") as record:
            before = self.counts.get(turn, 0)
            self.counts[turn] = before + 1
            record.write(json.dumps({"turn": turn, **entry}) + "\n")
        return before


class Handler(BaseHTTPRequestHandler):
    """Answers one review."""

    server: Backend

    def do_POST(self) -> None:
        """Decide about a review."""
        at = time.monotonic()
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        behaviour = self.server.behaviour()
        if review["spec"]["namespace"] != behaviour["namespace"]:
            self._say(200, {"allowed": True})
            return
        before = self.server.record(behaviour["turn"], {"at": at, "client": self._client(), "spec": review["spec"]})
        statuses = behaviour["statuses"]
        status = statuses[min(before, len(statuses) - 1)]
        self._say(status, _verdict(behaviour, [container["image"] for container in review["spec"]["containers"]]))

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002 - http.server's own name
        """Say nothing: the record tells all."""

    def _client(self) -> str | None:
        """The name in the certificate that the client showed; None when it showed none."""
        shown = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        subject: Any = (shown or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        return names[0] if names else None

    def _say(self, code: int, status: dict[str, Any]) -> None:
        answer = {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "status": status}
        text, content_type = json.dumps(answer), "application/json"
        if code != 200:
            text, content_type = "HTTP Error", "text/plain; charset=utf-8"
        self.send_response(code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def _verdict(behaviour: dict[str, Any], images: list[str]) -> dict[str, Any]:
    allowed = {"allow": True, "deny": False, "by-image": "bad" not in images}[behaviour["policy"]]
    status: dict[str, Any] = {"allowed": allowed}
    if not allowed and behaviour["reason"]:
        status["reason"] = behaviour["reason"]
    if behaviour["auditAnnotations"] is not None:
        status["auditAnnotations"] = behaviour["auditAnnotations"]
    return status


def _drain(connection: socket.socket) -> None:
    """Read what the client still sends: closing over it would reset the connection before the alert is read."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def main() -> None:
    """Listen, then serve in the background: when this command ends, the backend answers."""
    directory = Path(sys.argv[1])
    backend = Backend(directory, int(sys.argv[2]))
    child = os.fork()
    if child:
        (directory / "pid").write_text(str(child))
        return
    os.setsid()
    with (directory / "backend.log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    backend.serve_forever()


if __name__ == "__main__":
    main()
