"""A registry of the user's own, from which somebody else's cluster gets the images that the lab makes.

An image keeps its whole name below the place that the user gives: with ``registry.example:5000/lab`` the bouncer is
``registry.example:5000/lab/docker.io/kainlite/kube-image-bouncer:latest``. So its name in the cluster can be told from
the scenario's, and the other way round.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.bouncer.reference import parse
from lab.errors import InputError
from lab.images.endpoint import Endpoint

_PLAIN, _SECURE = "http://", "https://"
_LOOPBACK = ("localhost", "127.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRegistry:
    """A place in a registry.

    Attributes:
        address: ``HOST[:PORT]``, as this machine and the cluster's nodes know it.
        prefix: of the repositories, with a slash at its end; empty for none.
        scheme: ``https``, or ``http`` for a registry without TLS.
    """

    address: str
    prefix: str
    scheme: str

    @classmethod
    def named(cls, text: str) -> ImageRegistry:
        """The place that an option names.

        Args:
            text: ``HOST[:PORT][/PATH]``; after ``http://`` one without TLS, which a host of this machine is anyway.

        Raises:
            InputError: ``image-registry-invalid``.
        """
        rest = text.removeprefix(_PLAIN).removeprefix(_SECURE).rstrip("/")
        address, _, path = rest.partition("/")
        try:
            parsed = parse(f"{rest}/image")
        except InputError as error:
            raise _invalid(text, error.message) from error
        if parsed.domain != address or parsed.tag is not None:
            raise _invalid(text, f"{address} is no registry's host")
        plain = text.startswith(_PLAIN) or (not text.startswith(_SECURE) and address.startswith(_LOOPBACK))
        return cls(address=address, prefix=f"{path}/" if path else "", scheme="http" if plain else "https")

    @property
    def place(self) -> str:
        """What the names of its images begin with."""
        return f"{self.address}/{self.prefix}"

    @property
    def endpoint(self) -> Endpoint:
        """Where images are pushed to."""
        return Endpoint(address=self.address, scheme=self.scheme, prefix=self.prefix)


def _invalid(text: str, why: str) -> InputError:
    return InputError(
        "image-registry-invalid",
        f"{text!r} is no place in a registry: {why}",
        hint="write HOST[:PORT][/PATH], for example registry.example:5000/lab; http:// before it for one without TLS",
    )
