"""Reviews images for the API server: those of trusted registries may run."""

import json
import signal
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TRUSTED = ("docker.io/", "k8s.gcr.io/")


class Reviews(BaseHTTPRequestHandler):
    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        images = [container["image"] for container in review["spec"]["containers"]]
        strangers = [image for image in images if not image.startswith(TRUSTED)]
        if strangers:
            self.deny("not trusted: " + ", ".join(strangers))
        else:
            self.answer({"allowed": True})

    def deny(self, reason):
        self.send_error(403, reason)

    def answer(self, status, code=200):
        review = {"apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "status": status}
        self.reply(json.dumps(review), code)

    def reply(self, text, code=200):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.reply("ok")


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server = ThreadingHTTPServer(("", 1323), Reviews)
tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
tls.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
