"""Asking a rate-limit service (``envoy.service.ratelimit.v3``), by gRPC, as the proxy itself.

The call is an exchange like any other: it goes to the service's cluster, with its endpoints, its limits
and mutual TLS, and the service sees a call of the proxy's workload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from devmesh.proxy import dialing
from devmesh.proxy.downstream_stats import HttpStats
from devmesh.proxy.exchange import Exchange
from devmesh.proxy.http1 import Fields, Malformed, Request, Response
from devmesh.proxy.mirror import Nobody
from devmesh.proxy.pools import Pool
from devmesh.proxy.reactor import Connection, Owner
from devmesh.proxy.side import Named, Side
from devmesh.snapshot.cluster import Cluster, Endpoint
from devmesh.snapshot.proxy import Proxy
from devmesh.snapshot.rate_limits import Descriptor, GlobalLimit
from devmesh.snapshot.route import Route, Weighted
from devmesh.telemetry.record import Record
from devmesh.traffic.limiting import Left

if TYPE_CHECKING:
    from devmesh.proxy.plane import Plane

PATH = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
_OVER_LIMIT = 2
_MOST = 1 << 16  # bytes of an answer


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service says of a request; fields are to be added."""

    limited: bool = False
    failed: bool = False
    left: Left | None = None
    response_fields: tuple[tuple[str, str], ...] = ()
    request_fields: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


_FAILED = Answer(failed=True)
Then = Callable[[Answer], None]


def ask(side: Side, limit: GlobalLimit, found: Iterable[Descriptor], then: Then) -> None:
    """Ask about a request's descriptors; `then` is called once, within the limit's time-out."""
    plane = side.plane
    proxy = plane.feed.current.proxies.get(side.instance)
    cluster = proxy.outbound.clusters.get(limit.cluster) if proxy is not None else None
    if proxy is None or cluster is None:
        then(_FAILED)
        return
    if not cluster.http2:  # gRPC is nothing else, whatever the port is named
        cluster = _as_http2(plane, cluster)
    message = request_message(limit.domain, found)
    body = b"\0" + len(message).to_bytes(4, "big") + message
    fields = [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "devmesh")]
    authority = limit.authority or limit.cluster
    request = Request("POST", PATH, authority, fields, dict(fields), 0)
    request.length = len(body)
    asking = _Asking(plane, proxy, cluster, limit.timeout, authority)
    Exchange(asking, _Collector(then), request).start(body, True)


def _as_http2(plane: Plane, cluster: Cluster) -> Cluster:
    kept = plane.services.get(cluster.name)
    if kept is None or kept[0] is not cluster:
        kept = plane.services[cluster.name] = (cluster, replace(cluster, http2=True))
    return kept[1]


class _Collector(Nobody):
    """A downstream that waits for the whole answer."""

    def __init__(self, then: Then) -> None:
        self._then: Then | None = then
        self._data = b""
        self._status = 0
        self._failed = False

    def answer(self, exchange: Exchange, response: Response, piece: bytes, ended: bool) -> None:
        self._failed = response.status != 200 or response.headers.get("grpc-status", "0") != "0"
        self._data = piece

    def answer_more(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        if len(self._data) <= _MOST:
            self._data += piece
        if trailers is not None and dict(trailers).get("grpc-status", "0") != "0":
            self._failed = True

    def reply(self, exchange: Exchange, status: int, body: bytes, fields: Fields) -> None:
        self._failed = True

    def finished(self, *, reusable: bool) -> None:
        answer = _FAILED
        if not self._failed:
            try:
                answer = read_answer(self._data[5:])
            except ValueError:
                answer = _FAILED
        self._tell(answer)

    def cut(self) -> None:
        self._tell(_FAILED)

    def _tell(self, answer: Answer) -> None:
        then, self._then = self._then, None
        if then is not None:
            then(answer)


class _Asking(Side):
    """The proxy as a client of its own. Nothing is told of its calls, as of Envoy's."""

    def __init__(self, plane: Plane, proxy: Proxy, cluster: Cluster, timeout: float, authority: str) -> None:
        self.plane, self.instance = plane, proxy.instance.id
        self.state = plane.state(self.instance)
        self.http = HttpStats()  # nobody's
        self.remote, self.remote_text, self.local_text = ("", 0), "", ""
        self.last_fields = b""
        self._cluster, self._authority = cluster, authority
        self._route = Route(destinations=(Weighted(cluster.name),), timeout=timeout)
        self._caller = dialing.Caller(plane, proxy.instance)

    def decide(self, exchange: Exchange) -> None:
        exchange.route, exchange.cluster = self._route, self._cluster
        lines = "".join(f"{name}: {value}\r\n" for name, value in exchange.request.fields)
        exchange.head = f"POST {PATH} HTTP/1.1\r\nhost: {self._authority}\r\n{lines}\r\n"
        exchange.forward(self._route)

    def delayed(self, exchange: Exchange) -> None:
        raise AssertionError("no fault is injected here")

    def request_head(self, exchange: Exchange) -> str:
        return exchange.head

    def connect(
        self, cluster: Cluster, pool: Pool, owner: Owner, named: Named, *, http2: bool = False
    ) -> Connection | None:
        return dialing.reach(self._caller, cluster, pool, owner, named, http2=http2)

    def original_endpoint(self, cluster: Cluster) -> Endpoint | None:
        return None

    def record(self, exchange: Exchange) -> Record | None:
        return None

    def refused(self, error: Malformed, sent: int) -> Record | None:
        return None


# -- the messages, in protobuf --


def request_message(domain: str, found: Iterable[Descriptor]) -> bytes:
    """Return a RateLimitRequest."""
    made = _text(1, domain)
    for descriptor in found:
        entries = b"".join(_part(1, _text(1, key) + _text(2, value)) for key, value in descriptor)
        made += _part(2, entries)
    return made


def read_answer(data: bytes) -> Answer:
    """Read a RateLimitResponse.

    Raises:
        ValueError: It is none.
    """
    code, left = 0, None
    fields: dict[int, list[tuple[str, str]]] = {3: [], 4: []}
    body = b""
    for number, value in _parts(data):
        if number == 1 and isinstance(value, int):
            code = value
        elif isinstance(value, bytes):
            if number == 2:
                left = _tightest(left, _status(value))
            elif number in fields:
                header = dict(_parts(value))
                fields[number].append((_string(header, 1).lower(), _string(header, 2)))
            elif number == 5:
                body = value
    return Answer(code == _OVER_LIMIT, False, left, tuple(fields[3]), tuple(fields[4]), body)


def _status(data: bytes) -> Left | None:
    """Read a DescriptorStatus; None: it is not limited."""
    parts = dict(_parts(data))
    limit, until = parts.get(2), parts.get(4)
    if not isinstance(limit, bytes):
        return None
    remaining = parts.get(3, 0)
    seconds = dict(_parts(until)).get(1, 0) if isinstance(until, bytes) else 0
    most = dict(_parts(limit)).get(1, 0)
    return Left(*(each if isinstance(each, int) else 0 for each in (most, remaining, seconds)))


def _tightest(one: Left | None, other: Left | None) -> Left | None:
    if one is None or other is None:
        return one or other
    return min(one, other, key=lambda left: left.remaining)


def _string(parts: dict[int, int | bytes], number: int) -> str:
    value = parts.get(number, b"")
    return value.decode() if isinstance(value, bytes) else ""


def _text(number: int, value: str) -> bytes:
    return _part(number, value.encode())


def _part(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        match key & 7:
            case 0:
                number, at = _read_varint(data, at)
                yield key >> 3, number
            case 2:
                size, at = _read_varint(data, at)
                if at + size > len(data):
                    raise ValueError("a field is cut off")
                yield key >> 3, data[at : at + size]
                at += size
            case 1 | 5 as kind:
                at += 8 if kind == 1 else 4
            case kind:
                raise ValueError(f"wire type {kind} is unknown")


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number is cut off")
