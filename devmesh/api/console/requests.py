"""Filters of the request list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from devmesh.api.console.answers import Refused
from devmesh.model.workload import Workload
from devmesh.telemetry.record import Record

Filter = Callable[[Record], bool]


def compile_filter(query: Mapping[str, str], meshed: Collection[tuple[str, str]] = ()) -> Filter:
    """Return the test that a request list's query asks for; all its parts have to hold.

    Without `reporter` each request is told once: by its source's proxy, and by the destination's where
    the source has none.

    Args:
        meshed: The workloads with proxies, as (namespace, name).

    Raises:
        Refused: An unknown parameter or a value that makes no sense.
    """
    unknown = query.keys() - _FILTERS.keys() - {"limit", "reporter"}
    if unknown:
        known = ", ".join(sorted([*_FILTERS, "limit", "reporter"]))
        raise Refused(400, f"unknown parameter {min(unknown)!r}; there are: {known}")
    tests = [_reporter(query.get("reporter", "one"), meshed)]
    tests += [_FILTERS[name](value) for name, value in query.items() if name in _FILTERS and value]
    return lambda record: all(test(record) for test in tests)


def _reporter(wanted: str, meshed: Collection[tuple[str, str]]) -> Filter:
    def is_told_by_its_source(r: Record) -> bool:
        return r.mtls or (r.source is not None and (r.source.namespace, r.source.name) in meshed)

    match wanted:
        case "one":
            return lambda r: r.reporter == "source" or not is_told_by_its_source(r)
        case "all":
            return lambda r: True
        case "source" | "destination":
            return lambda r: r.reporter == wanted
    raise Refused(400, f"reporter {wanted!r} is none of: one, all, source, destination")


def _is(workload: Workload | None, wanted: str) -> bool:
    if workload is None:
        return wanted == "unknown"
    return wanted in (workload.name, workload.app, f"{workload.namespace}/{workload.name}")


def _service(wanted: str) -> Filter:
    return lambda r: r.service is not None and wanted in (r.service.name, r.service.host)


def _namespace(wanted: str) -> Filter:
    return lambda r: any(w is not None and w.namespace == wanted for w in (r.source, r.destination))


def _status(wanted: str) -> Filter:
    """200, a class (5xx), or several of them with commas; `error` is 4xx, 5xx and no answer."""
    parts = wanted.lower().split(",")
    for part in parts:
        if part != "error" and not (len(part) <= 3 and part.replace("x", "0").isdigit()):
            raise Refused(400, f"status {part!r} is not like 503, 5xx or error")

    def test(record: Record) -> bool:
        code = str(record.status)
        for part in parts:
            if part == "error":
                if record.status >= 400 or (record.status == 0 and bool(record.flags)):
                    return True
            elif len(part) == len(code) and all(p in (c, "x") for p, c in zip(part, code, strict=True)):
                return True
        return False

    return test


def _flags(wanted: str) -> Filter:
    names = set(wanted.upper().split(","))
    return lambda r: not names.isdisjoint(r.flags.split(","))


def _since(wanted: str) -> Filter:
    try:
        epoch = float(wanted)
    except ValueError:
        raise Refused(400, f"since {wanted!r} is not seconds since the epoch") from None
    return lambda r: r.started >= epoch


_FILTERS: dict[str, Callable[[str], Filter]] = {
    "workload": lambda wanted: lambda r: _is(r.source, wanted) or _is(r.destination, wanted),
    "source": lambda wanted: lambda r: _is(r.source, wanted),
    "destination": lambda wanted: lambda r: _is(r.destination, wanted),
    "service": _service,
    "namespace": _namespace,
    "status": _status,
    "flags": _flags,
    "since": _since,
    "protocol": lambda wanted: lambda r: r.protocol == wanted,
    "method": lambda wanted: lambda r: r.method == wanted.upper(),
    "path": lambda wanted: lambda r: wanted in r.path or wanted in r.original_path,
    "request_id": lambda wanted: lambda r: r.request_id == wanted,
    "trace_id": lambda wanted: lambda r: r.trace_id == wanted,
}
FILTERS = tuple(_FILTERS)
