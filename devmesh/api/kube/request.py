"""A request as the API sees it, and its answer; the framework is somewhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from devmesh.api.kube.errors import ApiError, bad_request

JSON = "application/json"
YAML = "application/yaml"
MAX_WARNINGS = 32
MAX_WARNING = 1000


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded; `headers` have lower-case names; `query` keeps what was given several times."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def get(self, name: str, default: str = "") -> str:
        found = self.query.get(name)
        return found[0] if found else default

    def flag(self, name: str) -> bool:
        """Read a boolean; given without a value it is true."""
        if name not in self.query:
            return False
        return self.get(name).lower() not in ("false", "0", "f")

    def number(self, name: str) -> int | None:
        """Read a number; None where there is none.

        Raises:
            ApiError: It isn't one.
        """
        text = self.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError:
            raise bad_request(f'{name}: expected a number, got "{text}"') from None

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def dry_run(self) -> bool:
        given = self.query.get("dryRun", ())
        if any(value not in ("", "All") for value in given):
            raise bad_request(f'dryRun: Unsupported value: "{given[0]}": supported values: "All"')
        return "All" in given

    @property
    def manager(self) -> str:
        """Who writes: the field manager, else the first word of the User-Agent, as in Kubernetes."""
        agent = self.headers.get("user-agent", "").partition("/")[0].strip()
        return self.get("fieldManager") or agent[:128] or "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` is sent as a whole, or in pieces as they come."""

    status: int
    body: bytes | AsyncIterator[bytes]
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


def as_json(value: Any, status: int = 200, *, warnings: Iterable[str] = ()) -> Answer:
    return Answer(status, msgspec.json.encode(value), headers=warning_headers(warnings))


def refused(error: ApiError) -> Answer:
    return as_json(error.status(), error.code)


def warning_headers(warnings: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Return ``Warning`` headers (RFC 7234 §5.5) with code 299, which kubectl prints."""
    told = tuple(dict.fromkeys(warnings))
    if len(told) > MAX_WARNINGS:
        told = (*told[:MAX_WARNINGS], f"and {len(told) - MAX_WARNINGS} more: see `devmesh analyze`")
    return tuple(("Warning", f'299 - "{_quoted(text[:MAX_WARNING])}"') for text in told)


def _quoted(text: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')


@dataclass(frozen=True, slots=True)
class Form:
    """What the client wants to get: a media type, and whether as a Table or as metadata alone."""

    media: str = JSON
    as_: str = ""


def wanted(accept: str) -> Form:
    """Choose among what the ``Accept`` header lists, in its order.

    Raises:
        ApiError: 406: nothing of it can be had.
    """
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        media, *parameters = (p.strip() for p in part.split(";"))
        values = dict(p.partition("=")[::2] for p in parameters)
        as_ = values.get("as", "")
        if as_ and (as_ not in _FORMS or values.get("g") != "meta.k8s.io"):
            continue
        if media in (JSON, "*/*", "application/*"):
            return Form(JSON, as_)
        if media in (YAML, "text/yaml"):
            return Form(YAML, as_)
    raise ApiError(
        406,
        "only the following media types are accepted: application/json, application/yaml",
    )


_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def encoded(value: Any, form: Form, status: int = 200, *, warnings: Iterable[str] = ()) -> Answer:
    """Return `value` in the media type asked for."""
    if form.media == JSON:
        return as_json(value, status, warnings=warnings)
    import yaml

    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return Answer(status, text.encode(), YAML, warning_headers(warnings))
