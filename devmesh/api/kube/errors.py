"""Refusals in Kubernetes' own form: a Status with its reason, details and causes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from devmesh.config.database import StoreUnwritable
from devmesh.config.kinds import Kind
from devmesh.config.problems import UNKNOWN, Cause, Invalid, Malformed, Refused
from devmesh.config.store import AlreadyExists, Conflict, Expired, Forbidden, NotFound

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    500: "InternalError",
    501: "NotImplemented",
    504: "Timeout",
}


class ApiError(Exception):
    """The request cannot be answered as asked; `code` is the HTTP status, which names the `reason`."""

    def __init__(
        self, code: int, message: str, *, reason: str | None = None, details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS.get(code, "Unknown")
        self.details = details

    def status(self) -> dict[str, Any]:
        """Return the body: a ``meta/v1 Status``."""
        found = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            found["details"] = self.details
        return found


def bad_request(message: str) -> ApiError:
    return ApiError(400, message)


def no_such_path() -> ApiError:
    return ApiError(404, "the server could not find the requested resource", details={})


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, f'{kind.resource} "{name}" not found', details=details_of(kind, name))


def method_not_allowed() -> ApiError:
    return ApiError(405, "the server does not allow this method on the requested resource", details={})


def unsupported_media_type(given: str, known: Iterable[str]) -> ApiError:
    what = f'the content type "{given}" is not' if given else "a content type is missing: none was"
    return ApiError(415, f"{what} understood here - accepted media types include: {', '.join(known)}")


def invalid_option(kind: str, cause: Cause) -> ApiError:
    """Refuse query parameters or options of the request."""
    details = {"group": "meta.k8s.io", "kind": kind, "causes": _causes((cause,))}
    return ApiError(422, f'{kind}.meta.k8s.io "" is invalid: {cause}', details=details)


def details_of(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}


def translated(error: Exception, kind: Kind, name: str) -> ApiError:
    """Return what `error`, from the store or from admission, is over HTTP."""
    details = details_of(kind, name)
    match error:
        case ApiError():
            return error
        case Malformed(causes=causes):
            strict = [c for c in causes if c.reason == UNKNOWN]
            return ApiError(
                400, str(error), details={"causes": _causes(causes)} if len(strict) < len(causes) else None
            )
        case Refused(causes=causes):
            details["kind"] = kind.kind
            if isinstance(error, Invalid):  # when it is created, the URL has no name yet
                details["name"] = error.name
            return ApiError(422, str(error), details={**details, "causes": _causes(causes)})
        case Forbidden():
            return ApiError(403, str(error), details=details)
        case AlreadyExists():
            return ApiError(409, str(error), reason="AlreadyExists", details=details)
        case Conflict():
            return ApiError(409, str(error), details=details)
        case Expired():
            return ApiError(410, str(error))
        case StoreUnwritable():
            return ApiError(500, str(error))
        case NotFound():
            return ApiError(404, str(error), details=_missing(str(error), details))
    return ApiError(500, f"{type(error).__name__}: {error}")


def _missing(message: str, details: dict[str, Any]) -> dict[str, Any]:
    if message.startswith("namespaces ") and details["kind"] != "namespaces":
        return {"name": message.split('"')[1], "kind": "namespaces"}
    return details


def _causes(causes: Iterable[Cause]) -> list[dict[str, str]]:
    return [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
