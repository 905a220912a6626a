"""Heads of requests that were read before, and heads that differ from those in the ids of a trace alone.

Clients say the same again and again. Who takes part in tracing (every proxy of the mesh) adds ids that are
new each time, as a block of lines: a head is then the known one without them, plus the ids. So nothing that
is worked out from a head and kept in `Request.derived` may depend on the ids.
"""

from __future__ import annotations

import re

from devmesh.proxy.http1 import MAX_FIELDS, NO_IDS, Request, parse_request, remember
from devmesh.snapshot.snapshot import PathNormalization

NAMES = ("x-request-id", "traceparent", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled")
IDS = frozenset((*NAMES, "b3"))
_VALUE = r"([0-9A-Za-z-]+)\r\n"
_FIRST = b"\r\nx-request-id: "
_BLOCK = re.compile("".join([f"{NAMES[0]}: {_VALUE}", *[f"(?:{name}: {_VALUE})?" for name in NAMES[1:]]]))


def read_request(
    known: dict[bytes, Request], data: bytes, scheme: str, paths: PathNormalization = PathNormalization.BASE
) -> Request | None:
    """Read the head at the front of `data`, as `parse_request` does; what comes again is kept in `known`.

    `known` has to be emptied when `paths` changes.

    Raises:
        Malformed: It is none, or too large.
    """
    end = data.find(b"\r\n\r\n") + 4
    request = known.get(data[:end])
    if request is not None:
        return request
    start = data.find(_FIRST, 0, end) + 2
    if start >= 2 and (found := _BLOCK.match(data[start : end - 2].decode("latin-1"))) is not None:
        request = _with_ids(known, data[:start] + data[start + found.end() : end], scheme, paths, found)
        if request is not None:
            return request
    request = parse_request(data, scheme, paths)
    if request is not None and IDS.isdisjoint(request.headers):
        request.ids = NO_IDS
        remember(known, data, request)
    return request


def _with_ids(
    known: dict[bytes, Request], bare: bytes, scheme: str, paths: PathNormalization, block: re.Match[str]
) -> Request | None:
    """Return the request whose head is `bare` and a block of ids in it; None: that has to be read whole.

    Raises:
        Malformed: It would be without the ids, too.
    """
    plain = known.get(bare)
    if plain is None:
        plain = parse_request(bare, scheme, paths)
        if plain is None or len(plain.fields) + len(NAMES) > MAX_FIELDS or not IDS.isdisjoint(plain.headers):
            return None
        plain.ids = NO_IDS
        remember(known, bare, plain)
    request_id, parent, trace, span, above, sampled = block.groups()
    ids = {"x-request-id": request_id}
    if parent is not None:
        ids["traceparent"] = parent
    if trace is not None:
        ids["x-b3-traceid"] = trace
    if span is not None:
        ids["x-b3-spanid"] = span
    if above is not None:
        ids["x-b3-parentspanid"] = above
    if sampled is not None:
        ids["x-b3-sampled"] = sampled
    return plain.with_ids(ids, block.end())
