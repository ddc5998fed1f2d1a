"""Admits Pods whose images come from the allowed registries; answers AdmissionReviews at /validate."""

import json
import signal
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ALLOWED_REGISTRIES = ["registry.example.com", "docker.io"]
CONTAINER_KINDS = ["containers", "initContainers", "ephemeralContainers"]


def refusal(pod):
    """Why a Pod is not allowed; empty when it is."""
    for kind in CONTAINER_KINDS:
        for container in pod["spec"].get(kind) or []:
            image = container["image"]
            if image.split("/")[0] not in ALLOWED_REGISTRIES:
                return f"Image {image} is not allowed. Allowed registries: {', '.join(ALLOWED_REGISTRIES)}"
    return ""


class Webhook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200 if self.path == "/healthz" else 404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.partition("?")[0] != "/validate":
            self.answer(404, b"")
            return
        request = json.loads(body)["request"]
        message = refusal(request["object"])
        response = {"uid": request["uid"], "allowed": not message}
        if message:
            response["status"] = {"message": message}
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        self.answer(200, json.dumps(review).encode())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = ThreadingHTTPServer(("", 8080), Webhook)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/app/certs/tls.crt", "/app/certs/tls.key")
# Each connection shakes hands in its own thread, so that a silent client keeps nobody waiting.
server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
