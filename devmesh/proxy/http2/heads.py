"""Heads as blocks of fields: read as Envoy and RFC 9113 §8.2, §8.3 demand, and written."""

from __future__ import annotations

import re
from typing import TypeVar

from devmesh.proxy.heads import IDS
from devmesh.proxy.http1 import MAX_FIELDS, NO_IDS, UNTIL_CLOSE, Fields, Request, Response, repeated
from devmesh.proxy.http2.frames import Code, Http2Error
from devmesh.proxy.http2.hpack import Block
from devmesh.snapshot.snapshot import PathNormalization
from devmesh.traffic.paths import BadPath, normalized

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_PATH = re.compile(rb"[\x21\x22\x24-\x7e]+")  # Envoy refuses fragments, and what is not ASCII
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST = frozenset({b":method", b":path", b":scheme", b":authority"})
_CONNECTION = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_IDS = frozenset(name.encode() for name in IDS)
_IN_H1 = frozenset({b"host", *_CONNECTION})

Key = tuple[object, ...]
_Head = TypeVar("_Head", Request, Response)
_MAX_KNOWN, _MAX_KNOWN_FIELDS = 512, 40


def read_request(
    known: dict[Key, Request], block: Block, ended: bool, paths: PathNormalization = PathNormalization.BASE
) -> Request:
    """Read a request's head; what comes again is kept in `known`, which is emptied when `paths` changes.

    Raises:
        Http2Error: It is none.
    """
    ids: Block = []
    if not _IDS.isdisjoint([field[0] for field in block]):
        ids = [field for field in block if field[0] in _IDS]
        block = [field for field in block if field[0] not in _IDS]
    key = (ended, *block)
    request = known.get(key)
    if request is None:
        request = _request(block, ended, paths)
        request.ids = NO_IDS
        _remember(known, key, request)
    if not ids:
        return request
    fields, headers = _fields(ids)
    return request.with_ids(headers, sum(map(_size, fields)))


def read_response(known: dict[Key, Response], block: Block, ended: bool, method: str) -> Response:
    """Read a response's head, maybe a 1xx.

    Raises:
        Http2Error: It is none.
    """
    key = (ended, method == "HEAD", *block)
    response = known.get(key)
    if response is None:
        response = _response(block, ended, method)
        _remember(known, key, response)
    return response


def read_trailers(block: Block) -> Fields:
    """Read what follows a body.

    Raises:
        Http2Error: It has what only a head may have.
    """
    return _fields(block)[0]


def _remember(known: dict[Key, _Head], key: Key, head: _Head) -> None:
    if len(key) <= _MAX_KNOWN_FIELDS and head.size <= 2048:
        if len(known) >= _MAX_KNOWN:
            known.clear()
        known[key] = head


def _request(block: Block, ended: bool, paths: PathNormalization) -> Request:
    pseudo, rest = _split(block)
    if not pseudo.keys() <= _REQUEST:
        raise _invalid()
    method = pseudo.get(b":method", b"")
    path, scheme = pseudo.get(b":path", b""), pseudo.get(b":scheme", b"")
    if not _METHOD.fullmatch(method):
        raise _invalid()
    if method == b"CONNECT":
        if path or scheme or b":authority" not in pseudo:
            raise _invalid()
    elif not scheme or not _PATH.fullmatch(path) or not (path[:1] == b"/" or path == b"*"):
        raise _invalid()
    fields, headers = _fields(rest)
    host = headers.pop("host", "")
    if host:  # Envoy: `:authority` wins
        fields = [field for field in fields if field[0] != "host"]
    authority = pseudo[b":authority"].decode("latin-1") if b":authority" in pseudo else host
    size = sum(map(_size, fields)) + len(path) + len(authority)
    try:
        target = normalized(path.decode("latin-1"), paths)
    except BadPath:
        raise _invalid() from None
    request = Request(method.decode("latin-1"), target, authority, fields, headers, size)
    if len(headers) != len(fields):
        request.repeated = repeated(fields)
    request.scheme = scheme.decode("latin-1").lower() or "http"
    request.version = "HTTP/2"
    request.length = _length(headers, ended)
    return request


def _response(block: Block, ended: bool, method: str) -> Response:
    pseudo, rest = _split(block)
    code = pseudo.get(b":status", b"")
    if len(pseudo) != 1 or len(code) != 3 or not code.isdigit() or code < b"100":
        raise _invalid()
    fields, headers = _fields(rest)
    status = int(code)
    response = Response(status, "", fields, headers, sum(map(_size, fields)), False)
    if method == "HEAD" or status < 200 or status in (204, 304):
        response.length = 0
    else:
        response.length = _length(headers, ended)
    return response


def _length(headers: dict[str, str], ended: bool) -> int:
    given = headers.get("content-length")
    if given is None:
        return 0 if ended else UNTIL_CLOSE
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise _invalid()
    return int(given)


def _split(block: Block) -> tuple[dict[bytes, bytes], Block]:
    """Take the pseudo fields, which come first and once each, off the front."""
    if len(block) > MAX_FIELDS + 4:
        raise Http2Error(Code.ENHANCE_YOUR_CALM, "http2.too_many_headers")
    pseudo: dict[bytes, bytes] = {}
    for at, (name, value, _) in enumerate(block):
        if name[:1] != b":":
            return pseudo, block[at:]
        if name in pseudo or _BAD_VALUE.search(value):
            raise _invalid()
        pseudo[name] = value
    return pseudo, []


def _fields(block: Block) -> tuple[Fields, dict[str, str]]:
    """Return fields in order and by name: the values of one name joined by commas."""
    fields: Fields = []
    headers: dict[str, str] = {}
    for name, value, _ in block:
        if not _NAME.fullmatch(name) or _BAD_VALUE.search(value) or name in _CONNECTION:
            raise _invalid()
        if name == b"te" and value.lower() != b"trailers":
            raise _invalid()
        key, text = name.decode("latin-1"), value.decode("latin-1").strip(" \t")
        before = headers.get(key)
        if before is None:
            headers[key] = text
        elif key == "cookie":  # §8.2.3: it may come in pieces
            text = headers[key] = f"{before}; {text}"
            fields = [field for field in fields if field[0] != "cookie"]
        elif key in ("content-length", "host"):
            if before != text:
                raise _invalid()
            continue
        else:
            headers[key] = f"{before},{text}"
        fields.append((key, text))
    return fields, headers


def _size(field: tuple[str, str]) -> int:
    return len(field[0]) + len(field[1]) + 4


def _invalid() -> Http2Error:
    return Http2Error(Code.PROTOCOL_ERROR, "http2.invalid.header.field")


def pairs(fields: Fields) -> Block:
    """Return fields as they are written."""
    return [(name.encode("latin-1"), value.encode("latin-1"), False) for name, value in fields]


_lines: dict[bytes, tuple[bytes, bytes, bool]] = {}  # as fields: most come again and again


def _field(line: bytes) -> tuple[bytes, bytes, bool]:
    """Return a line as a field. Ids, which are new each time, are not to be kept in a table of HPACK's."""
    name, _, value = line.partition(b": ")
    if name in _IDS:
        return name, value, True
    if len(_lines) >= _MAX_KNOWN:
        _lines.clear()
    field = _lines[line] = (name, value, False)
    return field


def request_block(head: str, scheme: str) -> Block:
    """Return what HTTP/1.1 writes as `head` as a block."""
    lines = head.encode("latin-1").split(b"\r\n")
    method, _, rest = lines[0].partition(b" ")
    authority = b""
    fields: Block = []
    find, add = _lines.get, fields.append
    for line in lines[1:-2]:
        field = find(line) or _field(line)
        name = field[0]
        if name not in _IN_H1:
            add(field)
        elif name == b"host":
            authority = field[1]
    if method == b"CONNECT":
        return [(b":method", method, False), (b":authority", authority, False), *fields]
    return [
        (b":method", method, False),
        (b":scheme", scheme.encode("latin-1"), False),
        (b":path", rest.rpartition(b" ")[0], False),
        (b":authority", authority, False),
        *fields,
    ]
