"""Load balancers in the data plane: cookies, large tables, warm-up, localities."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from devmesh.proxy.pruning import prune
from devmesh.snapshot.balancing import Cookie, Group, Hashing, WarmUp
from devmesh.snapshot.cluster import Balancing, Cluster, Endpoint, OutlierDetection
from devmesh.traffic import hashing
from tests.proxy.meshes import CLUSTER, GET, OK, App, Mesh, cluster, endpoint, head_of, snapshot, status_of

NEAR = endpoint()
FAR = [endpoint(address=f"10.2.0.{n}") for n in range(1, 4)]


def mesh_of(made: Cluster) -> Mesh:
    """Return a mesh whose endpoints answer with their addresses."""
    mesh = Mesh(snapshot(clusters=(made,)))
    for each in made.endpoints:
        mesh.reactor.serve(None, *each.key, answering(each))
    return mesh


def answering(each: Endpoint) -> App:
    body = each.address.encode()
    return App(OK.replace(b"5", str(len(body)).encode(), 1).replace(b"hello", body))


def call(mesh: Mesh, **headers: str) -> str:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return mesh.call(GET.replace(b"\r\n\r\n", f"\r\n{lines}\r\n".encode())).partition(b"\r\n\r\n")[2].decode()


def test_a_cookie_is_given_once_and_leads_back() -> None:
    how = Hashing(cookie=Cookie("user", "/", 60.0))
    made = replace(cluster(NEAR, *FAR), hashing=how, balancing=Balancing.RING_HASH)
    mesh = mesh_of(made)
    first = mesh.call(GET)
    value = hashing.cookie_for("10.9.9.9:5555", "240.240.0.1:80")
    assert head_of(first)["set-cookie"] == f'user="{value}"; Max-Age=60; Path=/; HttpOnly'
    second = mesh.call(GET.replace(b"\r\n\r\n", f"\r\ncookie: user={value}\r\n\r\n".encode()))
    assert "set-cookie" not in head_of(second)
    assert second.endswith(first.partition(b"\r\n\r\n")[2])


def test_requests_with_one_key_stay_together() -> None:
    mesh = mesh_of(replace(cluster(NEAR, *FAR), hashing=Hashing("x-user"), balancing=Balancing.RING_HASH))
    for user in map(str, range(12)):
        assert len({call(mesh, x_user=user) for _ in range(3)}) == 1
    assert len({call(mesh, x_user=str(n)) for n in range(40)}) == 4


def test_a_large_table_is_made_aside_and_the_first_request_waits() -> None:
    how = Hashing("x-user", maglev=True, size=251)
    made = replace(cluster(NEAR, *FAR), hashing=how, balancing=Balancing.MAGLEV)
    mesh = mesh_of(made)
    client = mesh.client()
    client.connection.send(GET)
    state = mesh.plane.state("a").cluster(CLUSTER).balancing
    mesh.reactor.settle()
    assert status_of(client.data) == 200
    assert state.has_tables
    before = {user: call(mesh, x_user=user) for user in map(str, range(30))}
    fewer = replace(made, endpoints=made.endpoints[:3])
    mesh.publish(snapshot(clusters=(fewer,)))
    after = {user: call(mesh, x_user=user) for user in map(str, range(30))}
    assert FAR[2].address not in after.values()
    kept = [user for user in before if before[user] == after[user]]
    assert len(kept) >= 15


def test_a_client_that_goes_while_tables_are_made_is_forgotten() -> None:
    how = Hashing("x-user", maglev=True, size=251)
    mesh = mesh_of(replace(cluster(NEAR, *FAR), hashing=how, balancing=Balancing.MAGLEV))
    client = mesh.client()
    client.connection.send(GET)
    client.connection.close()
    mesh.reactor.settle()
    assert mesh.plane.state("a").cluster(CLUSTER).requests == 0
    assert [record.flags for record in mesh.sink.requests] in ([], ["DC"])


def test_connections_of_tcp_wait_for_tables_too() -> None:
    how = Hashing(source_ip=True, maglev=True, size=251)
    mesh = mesh_of(replace(cluster(NEAR, *FAR), hashing=how, balancing=Balancing.MAGLEV))
    gone, client = mesh.client(9000), mesh.client(9000)
    client.connection.send(b"ping")
    gone.connection.abort()
    mesh.reactor.settle()
    assert client.data.startswith(b"HTTP/1.1 200")
    state = mesh.plane.state("a").cluster(CLUSTER)
    assert state.balancing.has_tables
    again = mesh.client(9000)
    again.connection.send(b"ping")
    mesh.reactor.settle()
    assert again.data == client.data


def test_a_new_endpoint_gets_its_share_gradually() -> None:
    warm = replace(cluster(NEAR), warm_up=WarmUp(100.0, 0.1), balancing=Balancing.ROUND_ROBIN)
    mesh = mesh_of(warm)
    call(mesh)
    mesh.reactor.advance(200)
    more = replace(warm, endpoints=(NEAR, FAR[0]))
    mesh.reactor.serve(None, *FAR[0].key, answering(FAR[0]))
    mesh.publish(snapshot(clusters=(more,)))
    list(prune(mesh.plane, mesh.feed.current))

    def share() -> int:
        return Counter(call(mesh) for _ in range(110))[FAR[0].address]

    assert share() == 10  # 1 of 11: a tenth of the other's weight
    mesh.reactor.advance(50)
    assert 34 <= share() <= 39  # a half
    mesh.reactor.advance(51)
    assert share() == 55


def grouped(*groups: Group, **more: object) -> Cluster:
    members = tuple(e for group in groups for e in group.endpoints)
    made = replace(cluster(*members), groups=groups, balancing=Balancing.ROUND_ROBIN)
    return replace(made, **more)  # type: ignore[arg-type]


def test_shares_of_localities_are_kept_exactly() -> None:
    groups = [Group((each,), 0, weight) for each, weight in zip(FAR, (70, 20, 10), strict=True)]
    mesh = mesh_of(grouped(*groups, by_locality=True))
    share = Counter(call(mesh) for _ in range(50))
    assert [share[each.address] for each in FAR] == [35, 10, 5]


def test_who_is_near_serves_until_it_fails() -> None:
    once = OutlierDetection(consecutive_5xx=1, interval=1, base_ejection_time=60, max_ejection_percent=100)
    made = grouped(Group((NEAR,), 0), Group((FAR[0],), 1), Group((FAR[1],), 2), outlier=once)
    mesh = mesh_of(made)
    assert {call(mesh) for _ in range(10)} == {NEAR.address}
    del mesh.reactor.places[None, *NEAR.key]
    mesh.plane.state("a").close_idle()
    mesh.call(GET)  # refused
    assert {call(mesh) for _ in range(10)} == {FAR[0].address}
    mesh.reactor.serve(None, *NEAR.key, answering(NEAR))
    mesh.reactor.advance(62)
    assert {call(mesh) for _ in range(10)} == {NEAR.address}
