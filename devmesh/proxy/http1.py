"""HTTP/1.1 without sockets: heads out of bytes, and where bodies end (RFC 9112).

Strict where leniency lets requests be smuggled: a line ends with CRLF, a name is a token right before
its colon, there is no folding, at most one Content-Length and never beside Transfer-Encoding, which is
``chunked`` or nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from devmesh.snapshot.snapshot import PathNormalization
from devmesh.traffic.paths import BadPath, normalized
from devmesh.traffic.routing import NONE_REPEATED, RequestHead

MAX_HEAD = 60 * 1024  # Envoy: max_request_headers_kb
MAX_FIELDS = 100  # Envoy: max_headers_count
CHUNKED, UNTIL_CLOSE = -1, -2  # in place of a length
NO_IDS: Mapping[str, str] = {}

Fields = list[tuple[str, str]]

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rf"^({_TOKEN}):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)\r\n", re.MULTILINE)
_REQUEST = re.compile(rf"({_TOKEN}) ([\x21-\x7e]+) HTTP/(1\.[01])\r\n")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?\r\n")
_HOST = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=%:@\[\]\-]*")
_URL_HOST = re.compile(r"(?:[^/?#@]*@)?((?:[A-Za-z0-9._\-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?)")
# What Envoy's parser of HTTP/1.1 takes; others are no requests to it.
_METHODS = frozenset(
    (
        "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE", "ACL", "BIND",
        "CHECKOUT", "COPY", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "MSEARCH",
        "NOTIFY", "PROPFIND", "PROPPATCH", "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE",
        "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
    )
)  # fmt: skip


class Malformed(ValueError):
    """What the peer sent is no HTTP/1.1.

    Attributes:
        status: What a client is answered with.
        details: Envoy's response code details.
    """

    def __init__(self, details: str, status: int = 400) -> None:
        super().__init__(details)
        self.details = details
        self.status = status


class Request(RequestHead):
    """A request's head. It may be shared by all requests of the same bytes: nobody changes it, save that
    those who derive something from it keep that in `derived`.

    Attributes:
        fields: Header fields in the order sent; names in lower case. `headers` has them by name.
        length: Of the body in bytes, or `CHUNKED`; `UNTIL_CLOSE` where it is not known and not framed, as
            in HTTP/2.
        size: Of the head in bytes.
        minor: The version: 1 for HTTP/1.1, and for HTTP/2.
        version: ``HTTP/1.1`` and the like.
        is_grpc: It is a gRPC call (Envoy: by its content-type).
        derived: What was worked out from this head, without its ids, and some frozen object alone, by that
            object's id; it keeps the object alive.
        ids: Fields among which those are that say which trace the request belongs to, and its
            ``x-request-id``; empty where it is known that there are none. See `devmesh.proxy.heads`.
    """

    __slots__ = (
        "close",
        "derived",
        "fields",
        "ids",
        "is_grpc",
        "length",
        "minor",
        "size",
        "upgrade",
        "version",
    )

    def __init__(
        self, method: str, path: str, authority: str, fields: Fields, headers: Mapping[str, str], size: int
    ) -> None:
        self.method = method
        self.path = path
        self.authority = authority
        self.scheme = "http"
        self.headers = headers
        self.repeated = NONE_REPEATED
        self.fields = fields
        self.size = size
        self.length = 0
        self.minor = 1
        self.version = "HTTP/1.1"
        self.is_grpc = is_grpc(headers.get("content-type", ""))
        self.close = False
        self.upgrade = ""
        self.derived: dict[int, Any] = {}
        self.ids = headers

    def with_ids(self, ids: Mapping[str, str], size: int) -> Request:
        """Return the request that says the same and `ids`, in `size` more bytes."""
        fields, headers = [*self.fields, *ids.items()], {**self.headers, **ids}
        made = Request(self.method, self.path, self.authority, fields, headers, self.size + size)
        made.scheme, made.length, made.minor = self.scheme, self.length, self.minor
        made.close, made.upgrade, made.version = self.close, self.upgrade, self.version
        made.derived, made.ids, made.repeated = self.derived, ids, self.repeated
        return made


def is_grpc(content_type: str) -> bool:
    """Tell whether a content-type is gRPC's own (gRPC-Web's is not)."""
    return content_type.startswith("application/grpc") and content_type[16:17] in ("", "+")


class Response:
    """A response's head; `length` may be `UNTIL_CLOSE` too. Shared as requests' heads are.

    Attributes:
        close: The connection can't be used again.
        lines: The head as it is sent on, rendered; b"" until somebody has. `block` is the same for HTTP/2.
    """

    __slots__ = (
        "block",
        "close",
        "fields",
        "has_date",
        "headers",
        "length",
        "lines",
        "reason",
        "size",
        "status",
    )

    def __init__(
        self, status: int, reason: str, fields: Fields, headers: Mapping[str, str], size: int, close: bool
    ) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.headers = headers
        self.size = size
        self.close = close
        self.length = 0
        self.lines = b""
        self.block: list[tuple[bytes, bytes, bool]] = []
        self.has_date = "date" in headers


_Head = TypeVar("_Head", Request, Response)

MAX_KNOWN, MAX_KNOWN_SIZE = 512, 2048


def remember(known: dict[bytes, _Head], data: bytes, head: _Head) -> None:
    """Keep `head`, which is at the front of `data`, in `known`: clients and servers say the same again and
    again. Both in number and in size that is bounded."""
    if head.size <= MAX_KNOWN_SIZE:
        if len(known) >= MAX_KNOWN:
            known.clear()
        known[data[: head.size]] = head


def parse_request(
    data: bytes, scheme: str = "http", paths: PathNormalization = PathNormalization.BASE
) -> Request | None:
    """Read the head at the front of `data`; None: it isn't complete. The path is made canonical.

    Raises:
        Malformed: It is none, or too large.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or end > MAX_HEAD:
        if len(data) > MAX_HEAD:
            raise Malformed("http1.headers_too_large", 431)
        if data and b"\n" in data and _hopeless(data):
            raise Malformed("http1.codec_error")
        return None
    text = data[: end + 2].decode("latin-1")
    found = _REQUEST.match(text)
    if found is None:
        raise Malformed("http1.codec_error")
    method, target, version = found.groups()
    if method not in _METHODS:
        raise Malformed("http1.codec_error")
    fields, headers = _fields(text, found.end())
    host = headers.get("host")
    is_path = target[0] == "/"
    authority, path = (host or "", target) if is_path else _absolute(method, target, host)
    request = Request(method, path, authority, fields, headers, end + 4)
    request.scheme = scheme
    if version == "1.0":
        request.minor, request.version, request.close = 0, "HTTP/1.0", True
    elif method == "CONNECT":
        request.close = True
    if host is None and is_path:
        if version == "1.1":
            raise Malformed("missing_host_header")
    elif not _HOST.fullmatch(authority):
        raise Malformed("http.invalid_authority")
    if request.minor:  # others are refused for that
        if "#" in path:
            raise Malformed("path_normalization_failed")
        try:
            request.path = normalized(path, paths)
        except BadPath as error:
            raise Malformed(str(error)) from None
    if len(headers) != len(fields):
        request.repeated = repeated(fields)
    if "transfer-encoding" in headers or "content-length" in headers:
        request.length = _length(headers)
    connection = headers.get("connection")
    if connection is not None:
        _connection(request, connection)
    if "proxy-connection" in headers and "close" in headers["proxy-connection"].lower():
        request.close = True  # Envoy takes it for Connection
    return request


def parse_response(data: bytes, method: str) -> Response | None:
    """Read the head of the response to a request of `method`; None: it isn't complete.

    Raises:
        Malformed: It is none, or too large.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0 or end > MAX_HEAD:
        if len(data) > MAX_HEAD:
            raise Malformed("http1.headers_too_large")
        if len(data) >= 8 and not data.startswith(b"HTTP/1."):
            raise Malformed("http1.codec_error")
        return None
    text = data[: end + 2].decode("latin-1")
    found = _STATUS.match(text)
    if found is None:
        raise Malformed("http1.codec_error")
    minor, code, reason = found.groups()
    fields, headers = _fields(text, found.end())
    connection = headers.get("connection", "")
    close = minor == "0" and "keep-alive" not in connection.lower()
    if connection and "close" in connection.lower():
        close = True
    status = int(code)
    response = Response(status, reason or "", fields, headers, end + 4, close)
    if method == "HEAD" or status < 200 or status in (204, 304):
        if "content-length" in headers:
            _length(headers)  # it must be one, all the same
    elif "content-length" in headers or "transfer-encoding" in headers:
        response.length = _length(headers)
    else:
        response.length, response.close = UNTIL_CLOSE, True
    return response


def _fields(text: str, start: int) -> tuple[Fields, Mapping[str, str]]:
    """Return the fields in order, and by name: the values of one name joined by commas."""
    found = _FIELD.findall(text, start)
    if len(found) != text.count("\n", start):
        raise Malformed("http1.codec_error")  # a line that is no field
    if len(found) > MAX_FIELDS:
        raise Malformed("http1.too_many_headers", 431)
    if " \r\n" in text or "\t\r\n" in text:
        found = [(name, value.rstrip(" \t")) for name, value in found]
    fields = [(name.lower(), value) for name, value in found]
    headers = dict(fields)
    if len(headers) != len(fields):
        _join(fields, headers)
    return fields, headers


def _join(fields: Fields, headers: dict[str, str]) -> None:
    seen: set[str] = set()
    for name, value in fields:
        if name not in seen:
            seen.add(name)
            headers[name] = value
        elif name in ("content-length", "host", "transfer-encoding"):
            raise Malformed("http1.codec_error" if name != "host" else "http1.multiple_host")
        else:
            headers[name] += ("; " if name == "cookie" else ",") + value


def repeated(fields: Fields) -> Mapping[str, Sequence[str]]:
    """Return the values of each name that comes more than once."""
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault(name, []).append(value)
    return {name: values for name, values in found.items() if len(values) > 1}


def _length(headers: Mapping[str, str]) -> int:
    encoding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if encoding is not None:
        if length is not None:
            raise Malformed("http1.content_length_and_chunked_not_allowed")
        if encoding.lower() != "chunked":
            raise Malformed("http1.invalid_transfer_encoding", 501)
        return CHUNKED
    assert length is not None
    if not (length.isascii() and length.isdigit() and len(length) <= 18):
        raise Malformed("http1.codec_error")
    return int(length)


def _connection(request: Request, connection: str) -> None:
    options = [option.strip() for option in connection.lower().split(",")]
    if "close" in options:
        request.close = True
    elif request.minor == 0 and "keep-alive" in options:
        request.close = False
    if "upgrade" in options:
        request.upgrade = request.headers.get("upgrade", "").lower()


def _absolute(method: str, target: str, host: str | None) -> tuple[str, str]:
    """Split a target that is no path: ``http://host/path``, ``*``, or CONNECT's authority."""
    if method == "CONNECT":
        return target, ""
    if target == "*" and method == "OPTIONS":
        return host or "", target
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise Malformed("http1.codec_error")
    cut = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority, path = rest[:cut], rest[cut:]
    found = _URL_HOST.fullmatch(authority)
    if found is None or int(found[1].rpartition("]")[2].partition(":")[2] or 0) > 65535:
        raise Malformed("http1.codec_error")
    authority = found[1]
    return authority, path if path.startswith("/") else "/" + path


def _hopeless(data: bytes) -> bool:
    """Tell whether a head that isn't complete never can be: some line does not end with CRLF."""
    return data.count(b"\n") != data.count(b"\r\n") or _REQUEST.match(data.decode("latin-1")) is None
