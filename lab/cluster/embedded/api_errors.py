"""What the API server's answers end in besides a result: a refusal, or no answer.

Apart from `api_client`, so that whoever only catches them loads no HTTP library: static pods are started before that.
"""

from __future__ import annotations

from typing import Any

from lab.errors import LabError

JsonObject = dict[str, Any]
"""A decoded JSON object, as the API server sends and takes them."""


class ApiError(LabError):
    """The API server answered, and refused.

    Attributes:
        status: the HTTP status code.
        reason: the Status object's reason, for example ``NotFound``; empty when there is none.
        body: the Status object as sent; empty when the answer was not JSON.
    """

    def __init__(self, *, request: str, status: int, reason: str, message: str, body: JsonObject) -> None:
        super().__init__(
            "api-refused",
            message or f"the API server answered with status {status}",
            hint="read the API server's message; `lab logs kube-apiserver` shows its side",
            context={"request": request, "status": str(status), "reason": reason},
        )
        self.status = status
        self.reason = reason
        self.body = body

    @classmethod
    def from_status(cls, body: JsonObject, *, request: str, status: int | None = None) -> ApiError:
        """The error that a ``Status`` object tells, whether it was an answer or a watch event."""
        return cls(
            request=request,
            status=int(body.get("code") or status or 0),
            reason=str(body.get("reason") or ""),
            message=str(body.get("message") or ""),
            body=body,
        )

    @property
    def outdated(self) -> bool:
        """Whether the resource version asked for is gone (410) or not there yet, so that only a list helps."""
        causes = (self.body.get("details") or {}).get("causes") or []
        return (
            self.status == 410  # noqa: PLR2004 - HTTP's own "Gone"
            or self.reason in {"Expired", "Gone"}
            or any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes)
        )


class ApiUnavailable(LabError):  # noqa: N818 - a state of the API server, read as such where it is caught
    """The API server did not answer: refused, reset, timed out, or stopped in the middle of an answer."""

    def __init__(self, *, request: str, cause: BaseException) -> None:
        super().__init__(
            "api-unavailable",
            f"the API server does not answer: {cause or type(cause).__name__}",
            hint="see whether it runs with `lab status`, and why not with `lab logs kube-apiserver`",
            context={"request": request},
        )
