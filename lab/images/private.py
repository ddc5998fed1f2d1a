"""The registry that asks for a name and password: one more server beside the open one, for the images of one host.

The registry program asks either every client or none, so what is behind a password needs a server of its own. Name and
password are printed in the task that needs them; they open nothing but a lab's stand-ins.
"""

from __future__ import annotations

PRIVATE_DOMAIN = "private-registry.example"
"""The registry's host in the name of an image."""

HTPASSWD = "candidate:$2a$05$SdXgyUY47Ikw6N7SV0714OFBiwc7F2bhWcq6zQ/MFLPuO5idCwtMW\n"
"""Its only user, as a line of an htpasswd file: bcrypt, cost 5, of the word "course"."""
