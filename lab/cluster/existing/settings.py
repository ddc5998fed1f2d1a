"""What is remembered of a lab in somebody else's cluster: enough to clean up after a run that was killed."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from lab.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

BACKEND = "existing"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestSettings:
    """A lab, kept in ``lab.json`` from before it makes anything until everything of it is gone.

    Attributes:
        name: the lab's name.
        run: its number in the cluster, six hexadecimal digits.
        kubeconfig: the file that reaches the cluster.
        context: one of its contexts; None for the current one at the time.
        backend: ``existing``.
    """

    name: str
    run: str
    kubeconfig: str
    context: str | None
    backend: str = BACKEND

    @classmethod
    def new(cls, name: str, *, kubeconfig: Path, context: str | None) -> GuestSettings:
        """A lab that has made nothing yet."""
        return cls(name=name, run=secrets.token_hex(3), kubeconfig=str(kubeconfig.absolute()), context=context)

    def save(self, path: Path) -> None:
        """Write the settings in one step."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n")
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> GuestSettings | None:
        """Read settings that `save` wrote; None when there are none.

        Raises:
            InputError: ``lab-exists``: they are those of a lab on another backend.
        """
        try:
            document = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        if document.get("backend") != BACKEND:
            raise InputError(
                "lab-exists",
                f"the lab {document['name']} is there already, on another backend",
                hint=f"remove it with `lab down --name {document['name']}`, or give another --name",
            )
        return cls(**document)
