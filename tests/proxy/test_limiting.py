"""Rate limits on the way of a request, at a workload's port and at a gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from devmesh.model.port import Protocol
from devmesh.proxy.arriving_gateway import GatewayArrival
from devmesh.proxy.rate_limit_service import read_answer, request_message
from devmesh.proxy.reactor import Connection
from devmesh.snapshot.cluster import Endpoint, ServiceRef
from devmesh.snapshot.proxy import GatewayListener, Inbound, InboundPort, MtlsMode, Proxy
from devmesh.snapshot.rate_limits import (
    Allowance,
    Bucket,
    GlobalLimit,
    Limiting,
    LocalLimit,
    Quota,
    QuotaNode,
    RequestHeader,
    RouteLimits,
    Rule,
)
from devmesh.snapshot.route import DirectResponse, Fault, HeaderOps, RouteTable, VirtualHost
from devmesh.snapshot.snapshot import Snapshot
from devmesh.traffic.limiting import Left
from tests.proxy.meshes import (
    APP,
    B_REF,
    GET,
    TO_B,
    B,
    End,
    Mesh,
    body_of,
    cluster,
    endpoint,
    head_of,
    instance,
    status_of,
)
from tests.proxy.meshes import snapshot as plain

MARK = HeaderOps(set=(("x-local-rate-limit", "true"),))
FOUR = LocalLimit(
    "http_local_rate_limiter", Bucket(4, 4, 60.0), enabled=100, enforced=100, response_headers=MARK
)
BY_PATH = RouteLimits((Rule((RequestHeader(":path", "PATH"),)),))
QUOTA = Quota(
    "ratelimit", QuotaNode(None, {"PATH_/x": QuotaNode(Allowance(1, 60)), "PATH": QuotaNode(Allowance(9, 1))})
)
SHARED = GlobalLimit("ratelimit", "outbound|8081||ratelimit.default.svc.cluster.local", denies=True)
SERVICE = ("10.1.0.7", 8081)


def inbound(limiting: Limiting | None) -> Snapshot:
    base = plain(clusters=(cluster(endpoint(hop=True)),))
    port = InboundPort(
        APP[1], Protocol.HTTP, MtlsMode.PERMISSIVE, B_REF, f"inbound|{APP[1]}||", limiting=limiting
    )
    proxy = Proxy(B, base.proxies["b"].outbound, Inbound({APP[1]: port}))
    return replace(base, proxies={**base.proxies, "b": proxy})


def statuses(mesh: Mesh, count: int) -> list[int]:
    return [status_of(mesh.call(GET)) for _ in range(count)]


# -- at a workload --


def test_a_local_limit_refuses_in_envoys_words() -> None:
    mesh = Mesh(inbound(Limiting((FOUR,))))
    assert statuses(mesh, 4) == [200] * 4
    answer = mesh.call(GET)
    assert (status_of(answer), body_of(answer)) == (429, b"local_rate_limited")
    head = head_of(answer)
    assert (head["x-local-rate-limit"], head["content-type"]) == ("true", "text/plain")
    assert "x-envoy-ratelimited" not in head
    inside = next(
        record for record in mesh.sink.requests if record.reporter == "destination" and record.status == 429
    )
    assert (inside.flags, inside.details) == ("RL", "local_rate_limited")
    mesh.reactor.advance(15)
    assert statuses(mesh, 2) == [200, 429]


def test_what_a_local_limit_did_is_counted() -> None:
    mesh = Mesh(inbound(Limiting((FOUR,))))
    statuses(mesh, 6)
    counts = mesh.plane.state("b").limited["http_local_rate_limiter.http_local_rate_limit"]
    assert counts == {"enabled": 6, "enforced": 2, "ok": 4, "rate_limited": 2, "shadow_mode": 0}


def test_what_isnt_enforced_passes_and_says_so_to_the_application() -> None:
    mark = HeaderOps(add=(("x-over", "yes"),))
    mesh = Mesh(inbound(Limiting((replace(FOUR, enforced=0.0, request_headers=mark),))))
    assert statuses(mesh, 5) == [200] * 5
    assert mesh.app.heard.count(b"x-over: yes\r\n") == 1


def test_what_isnt_enabled_isnt_counted() -> None:
    mesh = Mesh(inbound(Limiting((replace(FOUR, enabled=0.0),))))
    assert statuses(mesh, 9) == [200] * 9


def test_a_part_of_the_requests_can_be_counted() -> None:
    mesh = Mesh(inbound(Limiting((replace(FOUR, bucket=Bucket(1, 1, 1e6), enabled=50.0),))))
    found = statuses(mesh, 100)
    assert 30 < found.count(429) < 70


def test_callers_with_and_without_mutual_tls_have_buckets_of_their_own() -> None:
    mesh = Mesh(inbound(Limiting((FOUR,))))
    assert statuses(mesh, 5) == [200, 200, 200, 200, 429]
    base = inbound(Limiting((FOUR,)))
    secure = replace(
        base.proxies["a"].outbound, clusters={c.name: c for c in (cluster(endpoint(mtls=True)),)}
    )
    mesh.publish(replace(base, proxies={**base.proxies, "a": replace(base.proxies["a"], outbound=secure)}))
    assert statuses(mesh, 5) == [200, 200, 200, 200, 429]


def test_an_edit_that_leaves_the_limit_as_it_was_leaves_its_tokens_too() -> None:
    mesh = Mesh(inbound(Limiting((FOUR,))))
    statuses(mesh, 4)
    mesh.publish(inbound(Limiting((replace(FOUR),))))
    assert statuses(mesh, 1) == [429]
    mesh.publish(inbound(Limiting((replace(FOUR, bucket=Bucket(5, 4, 60.0)),))))
    assert statuses(mesh, 1) == [200]


def test_a_ports_own_setting_comes_in_place_of_the_listeners() -> None:
    listener = LocalLimit("http_local_rate_limiter")
    one = replace(FOUR, bucket=Bucket(1, 1, 60.0))
    mesh = Mesh(inbound(Limiting((listener,), otherwise=RouteLimits(local=one))))
    assert statuses(mesh, 2) == [200, 429]


def test_descriptors_have_buckets_of_their_own() -> None:
    limit = replace(FOUR, buckets=(((("PATH", "/x"),), Bucket(2, 1, 60.0)),))
    mesh = Mesh(inbound(Limiting((limit,), otherwise=BY_PATH)))
    assert statuses(mesh, 3) == [200, 200, 429]
    assert status_of(mesh.call(GET.replace(b"/x", b"/y"))) == 200


def test_each_connection_can_have_a_bucket() -> None:
    mesh = Mesh(inbound(Limiting((replace(FOUR, per_connection=True, bucket=Bucket(1, 1, 60.0)),))))

    def stranger() -> list[int]:
        end = mesh.stranger()
        found = []
        for _ in range(2):
            end.data = b""
            end.connection.send(GET)
            mesh.reactor.settle()
            found.append(status_of(end.data))
        return found

    assert stranger() == stranger() == [200, 429]


def test_answers_can_tell_what_is_left() -> None:
    mesh = Mesh(inbound(Limiting((replace(FOUR, tells=True, bucket=Bucket(2, 2, 60.0)),))))
    told = [head_of(mesh.call(GET)) for _ in range(3)]
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    assert [[head[name] for name in names] for head in told] == [
        ["2", "1", "0"],
        ["2", "0", "30"],
        ["2", "0", "30"],
    ]


@pytest.mark.parametrize(("exhausted", "status"), [(False, "14"), (True, "8")])
def test_grpcs_clients_get_a_status_of_theirs(exhausted: bool, status: str) -> None:
    mesh = Mesh(inbound(Limiting((replace(FOUR, bucket=Bucket(1, 1, 60.0), exhausted=exhausted),))))
    asked = GET.replace(b"\r\n\r\n", b"\r\ncontent-type: application/grpc\r\n\r\n")
    mesh.call(asked)
    answer = mesh.call(asked)
    assert (status_of(answer), head_of(answer)["grpc-status"]) == (200, status)
    assert head_of(answer)["grpc-message"] == "local_rate_limited"


# -- at a gateway --

EDGE = replace(instance("edge", "10.1.0.9"), gateway=True)


class Gateway:
    """A mesh that is called through a gateway."""

    def __init__(
        self,
        limiting: Limiting | None,
        *,
        route: object = TO_B,
        service: Callable[[Connection], None] | None = None,
        endpoints: bool = True,
    ) -> None:
        table = RouteTable.of("http.8080", (VirtualHost("*:80", ("*",), (route,)),))  # type: ignore[arg-type]
        listener = GatewayListener(80, 8080, Protocol.HTTP, table, limiting=limiting)
        base = plain() if endpoints else plain(clusters=(cluster(),))
        outbound = base.proxies["a"].outbound
        if service is not None:
            there = cluster(Endpoint(*SERVICE), name=SHARED.cluster)
            ref = ServiceRef("ratelimit.default.svc.cluster.local", "ratelimit", "default")
            outbound = replace(
                outbound, clusters={**outbound.clusters, SHARED.cluster: replace(there, service=ref)}
            )
        self.proxy = Proxy(EDGE, outbound, gateway=(listener,))
        self.mesh = Mesh(replace(base, proxies={**base.proxies, "edge": self.proxy}))
        if service is not None:
            self.mesh.reactor.serve(None, *SERVICE, service)

    def client(self) -> End:
        start = partial(GatewayArrival, self.mesh.plane, self.proxy, self.proxy.gateway[0])
        return End(self.mesh.reactor.connect(lambda connection: start(connection).start()))

    def call(self, path: str = "/x") -> bytes:
        client = self.client()
        client.connection.send(f"GET {path} HTTP/1.1\r\nhost: b\r\n\r\n".encode())
        self.mesh.reactor.settle()
        return client.data

    def statuses(self, *paths: str) -> list[int]:
        return [status_of(self.call(path)) for path in paths]


def by_path(limit: GlobalLimit) -> Limiting:
    return Limiting(shared=(limit,), otherwise=BY_PATH)


def test_devmesh_keeps_a_quota_for_all_proxies() -> None:
    gateway = Gateway(by_path(replace(SHARED, quota=QUOTA)))
    assert gateway.statuses("/x", "/x", "/y", "/z") == [200, 429, 200, 200]
    answer = gateway.call("/x")
    assert body_of(answer) == b""
    assert head_of(answer)["x-envoy-ratelimited"] == "true"
    record = gateway.mesh.sink.requests[-1]
    assert (record.flags, record.details) == ("RL", "request_rate_limited")
    gateway.mesh.reactor.advance(60)
    assert gateway.statuses("/x") == [200]


def test_a_requests_without_a_descriptor_asks_nobody() -> None:
    gateway = Gateway(Limiting(shared=(replace(SHARED, quota=QUOTA),)))
    assert gateway.statuses("/x", "/x") == [200, 200]


def test_the_header_of_refusals_can_be_left_out_and_the_status_chosen() -> None:
    gateway = Gateway(by_path(replace(SHARED, quota=QUOTA, says_limited=False, status=503, tells=True)))
    told = head_of(gateway.call())
    assert (told["x-ratelimit-limit"], told["x-ratelimit-remaining"]) == ("1", "0")
    answer = gateway.call()
    assert status_of(answer) == 503
    assert "x-envoy-ratelimited" not in head_of(answer)


def test_what_a_route_answers_by_itself_is_limited_locally_alone() -> None:
    tea = replace(TO_B, destinations=(), direct=DirectResponse(418, b"tea"))
    gateway = Gateway(by_path(replace(SHARED, quota=QUOTA)), route=tea)
    assert gateway.statuses("/x", "/x") == [418, 418]
    gateway = Gateway(Limiting((replace(FOUR, bucket=Bucket(1, 1, 60.0)),)), route=tea)
    assert gateway.statuses("/x", "/x") == [418, 429]


@pytest.mark.parametrize(("first", "expected"), [(True, [555, 429]), (False, [555, 555])])
def test_a_limit_comes_before_or_after_faults(first: bool, expected: list[int]) -> None:
    broken = replace(TO_B, fault=Fault(abort_status=555, abort_percent=100))
    gateway = Gateway(Limiting((replace(FOUR, bucket=Bucket(1, 1, 60.0), first=first),)), route=broken)
    assert gateway.statuses("/x", "/x") == expected


def test_without_a_service_requests_are_refused_or_pass() -> None:
    gateway = Gateway(by_path(SHARED))
    answer = gateway.call()
    assert (status_of(answer), body_of(answer)) == (500, b"")
    assert (gateway.mesh.sink.requests[-1].flags, gateway.mesh.sink.requests[-1].details) == (
        "RLSE",
        "rate_limiter_error",
    )
    assert Gateway(by_path(replace(SHARED, denies=False))).statuses("/x") == [200]


def silent(connection: Connection) -> None:
    End(connection)


def closing(connection: Connection) -> None:
    End(connection).connection.close()


def test_a_service_that_says_nothing_has_its_time() -> None:
    gateway = Gateway(by_path(replace(SHARED, timeout=10.0)), service=silent)
    client = gateway.client()
    client.connection.send(GET)
    gateway.mesh.reactor.advance(9.9)
    assert not client.data
    gateway.mesh.reactor.advance(0.2)
    assert status_of(client.data) == 500


def test_a_service_that_closes_has_failed() -> None:
    assert Gateway(by_path(SHARED), service=closing).statuses("/x") == [500]


def test_a_client_that_goes_meanwhile_is_nobodys() -> None:
    gateway = Gateway(by_path(SHARED), service=silent)
    client = gateway.client()
    client.connection.send(GET)
    gateway.mesh.reactor.settle()
    client.connection.close()
    gateway.mesh.reactor.advance(1)
    assert gateway.mesh.sink.requests[-1].flags == "DC"


# -- the messages --


def test_a_request_to_a_service_is_protobuf() -> None:
    made = request_message("ratelimit", [(("PATH", "/x"), ("a", "b")), (("c", "d"),)])
    first = b"\x0a\x0a\x0a\x04PATH\x12\x02/x" + b"\x0a\x06\x0a\x01a\x12\x01b"
    second = b"\x0a\x06\x0a\x01c\x12\x01d"
    assert made == b"\x0a\x09ratelimit\x12\x14" + first + b"\x12\x08" + second


def test_a_services_answer_is_read() -> None:
    status = b"\x08\x02\x12\x04\x08\x05\x10\x02\x18\x01\x22\x02\x08\x1e"
    header = b"\x0a\x03X-A\x12\x01b"
    data = (
        b"\x08\x02"
        + b"\x12"
        + bytes([len(status)])
        + status
        + b"\x1a"
        + bytes([len(header)])
        + header
        + b"\x2a\x02no"
    )
    answer = read_answer(data)
    assert (answer.limited, answer.left, answer.body) == (True, Left(5, 1, 30), b"no")
    assert answer.response_fields == (("x-a", "b"),)
    assert read_answer(b"\x08\x01") == read_answer(b"\x08\x01\x29" + bytes(8) + b"\x35" + bytes(4))
    assert not read_answer(b"").limited


@pytest.mark.parametrize("data", [b"\x08", b"\x12\x05a", b"\x0b", b"\x08" + b"\xff" * 11])
def test_what_is_no_answer_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cut off|unknown"):
        read_answer(data)
