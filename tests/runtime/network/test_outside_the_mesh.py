"""Pods without a proxy: Services' addresses by rules, the world by a relay."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio

from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.netlink import NetlinkError
from devmesh.runtime.network.original import original_destination
from devmesh.snapshot.network import MARK_PROXY

from .conftest import Application, Applications, Watcher, accept

pytestmark = pytest.mark.netns
VIP = "240.240.7.7"


def servers(run_pod: Applications, *names: str) -> list[tuple[Application, socket.socket]]:
    pods = [run_pod(name, meshed=False) for name in names]
    return [(pod, pod.listen("::", 9080)) for pod in pods]


def answering(listeners: list[socket.socket]) -> int:
    """Return which of `listeners` has a connection, and take it."""
    for index, listener in enumerate(listeners):
        listener.settimeout(0)
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            continue
        return index
    raise AssertionError("no connection arrived")


def test_a_services_address_leads_to_a_random_endpoint(run_pod: Applications, fabric: Fabric) -> None:
    pods = servers(run_pod, "one", "two")
    client = run_pod("client", meshed=False)
    fabric.update_backends({(VIP, 80): tuple((pod.pod.addresses[0], 9080) for pod, _ in pods)})

    seen = []
    for _ in range(40):
        client.connect(VIP, 80)
        seen.append(answering([listener for _, listener in pods]))

    assert 5 < seen.count(0) < 35  # outside once in 10 million runs


def test_an_ipv6_service(run_pod: Applications, fabric: Fabric) -> None:
    pods = servers(run_pod, "one", "two")
    client = run_pod("client", meshed=False)
    targets = tuple((address, 9080) for pod, _ in pods for address in pod.pod.addresses)
    fabric.update_backends({("2001:2::7", 80): targets})

    client.connect("2001:2::7", 80)

    answering([listener for _, listener in pods])


def test_a_pod_outside_the_mesh_that_calls_itself(run_pod: Applications, fabric: Fabric) -> None:
    ((pod, listener),) = servers(run_pod, "one")
    fabric.update_backends({(VIP, 80): ((pod.pod.addresses[0], 9080),)})
    pod.connect(VIP, 80)
    accept(listener)


def test_the_endpoints_follow(run_pod: Applications, fabric: Fabric) -> None:
    pods = servers(run_pod, "one", "two")
    listeners = [listener for _, listener in pods]
    client = run_pod("client", meshed=False)
    targets = [(pod.pod.addresses[0], 9080) for pod, _ in pods]
    for expected in (0, 1, 0):
        fabric.update_backends({(VIP, 80): (targets[expected],), (VIP, 81): tuple(targets)})
        for _ in range(4):
            client.connect(VIP, 80)
            assert answering(listeners) == expected


async def test_many_services_are_known_to_old_and_new_pods(
    run_pod: Applications, fabric: Fabric, nursery: trio.Nursery
) -> None:
    await nursery.start(fabric.run)
    ((pod, listener),) = servers(run_pod, "one")
    target = ((pod.pod.addresses[0], 9080), (pod.pod.addresses[0], 9080))
    many = {(f"240.240.{number // 250}.{number % 250 + 1}", 80): target for number in range(1500)}
    fabric.update_backends(many)
    clients = [pod, run_pod("client", meshed=False)]

    for client in clients:
        for address in ("240.240.0.1", "240.240.5.250"):
            await reach(client, address)
            accept(listener)
    nursery.cancel_scope.cancel()


async def reach(client: Application, address: str) -> None:
    """Connect; the rules follow on another thread, and may not be there yet."""
    for _ in range(200):
        with contextlib.suppress(ConnectionRefusedError):
            client.connect(address, 80)
            return
        await trio.sleep(0.01)
    raise AssertionError(f"{address} refuses connections")


def test_names_in_place_of_addresses_are_passed_over(run_pod: Applications, fabric: Fabric) -> None:
    ((pod, listener),) = servers(run_pod, "one")
    targets = (("db.example.com", 80), (pod.pod.addresses[0], 9080))
    fabric.update_backends({(VIP, 80): targets, ("a name", 80): targets})
    pod.connect(VIP, 80)
    accept(listener)


@pytest.mark.parametrize("backends", [{}, {(VIP, 80): ()}, {(VIP, 80): (("fd00::1", 1),)}])
def test_a_service_without_endpoints_refuses(
    run_pod: Applications, fabric: Fabric, backends: dict[tuple[str, int], tuple[tuple[str, int], ...]]
) -> None:
    client = run_pod("client", meshed=False)
    fabric.update_backends({(VIP, 80): (("10.244.0.9", 80),)})
    fabric.update_backends(backends)
    with pytest.raises(ConnectionRefusedError):
        client.connect(VIP, 80)


def test_udp_of_a_pod_in_the_mesh_takes_the_same_way(run_pod: Applications, fabric: Fabric) -> None:
    server, client = run_pod("server"), run_pod("client")
    receiver = server.socket("0.0.0.0", socket.SOCK_DGRAM)
    receiver.bind(("0.0.0.0", 5000))
    elsewhere = (("10.244.99.99", 1),)  # TCP of the same port
    fabric.update_backends({(VIP, 50): elsewhere}, {(VIP, 50): ((server.pod.addresses[0], 5000),)})

    sender = client.socket("0.0.0.0", socket.SOCK_DGRAM)
    sender.connect((VIP, 50))
    sender.send(b"ping")
    data, peer = receiver.recvfrom(10)
    receiver.sendto(b"pong", peer)

    assert (data, sender.recv(10)) == (b"ping", b"pong")


def test_tcp_of_a_pod_in_the_mesh_is_still_the_proxys(
    run_pod: Applications, fabric: Fabric, watcher: Watcher
) -> None:
    client = run_pod("client")
    fabric.update_backends({(VIP, 80): (("10.244.0.9", 80),)})
    client.connect(VIP, 80)
    watcher.accept("client", "outbound").close()


def test_a_change_that_the_kernel_refuses_is_tried_again(
    run_pod: Applications, fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((pod, listener),) = servers(run_pod, "one")
    with monkeypatch.context() as patched:
        patched.setattr("devmesh.runtime.network.netlink.Netlink.request", refuse)
        fabric.update_backends({(VIP, 79): (("10.244.0.9", 80),)})

    fabric.update_backends({(VIP, 80): ((pod.pod.addresses[0], 9080),)})

    pod.connect(VIP, 80)
    accept(listener)


def refuse(*_: object) -> list[bytes]:
    raise NetlinkError(12, "no memory")


async def test_the_world_is_reached_by_a_relay(
    run_pod: Applications, fabric: Fabric, nursery: trio.Nursery
) -> None:
    await nursery.start(fabric.run)
    client = run_pod("client", meshed=False).socket("0.0.0.0")
    # The host's own loopback address will not do: in the pod it is the pod's.
    with socket.create_server((own_address(), 0)) as world:
        world.settimeout(2)
        await trio.to_thread.run_sync(client.connect, world.getsockname())
        server, _ = await trio.to_thread.run_sync(world.accept)
        with server:
            server.settimeout(2)
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert await trio.to_thread.run_sync(server.makefile("rb").read) == b"question"
            server.sendall(b"answer" * 100_000)
            server.shutdown(socket.SHUT_WR)
            answer = await trio.to_thread.run_sync(client.makefile("rb").read)
    assert answer == b"answer" * 100_000
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("meshed", [True, False])
async def test_this_machine_is_the_pods_gateway(
    run_pod: Applications, fabric: Fabric, watcher: Watcher, nursery: trio.Nursery, meshed: bool
) -> None:
    await nursery.start(fabric.run)
    pod = run_pod("client", meshed=meshed)
    with socket.create_server(("127.0.0.1", 0)) as here:
        here.settimeout(2)
        port = here.getsockname()[1]
        pod.connect("10.244.0.1", port)
        if meshed:
            with watcher.accept("client", "outbound") as accepted:
                address, port = original_destination(accepted) or ("", 0)
            fabric.dial(None, address, port, mark=MARK_PROXY, origin="client").close()
        server, _ = await trio.to_thread.run_sync(here.accept)
        server.close()
    nursery.cancel_scope.cancel()


async def test_what_is_not_there_resets_the_connection(
    run_pod: Applications, fabric: Fabric, nursery: trio.Nursery
) -> None:
    await nursery.start(fabric.run)
    client = run_pod("client", meshed=False).socket("0.0.0.0")
    with socket.create_server((own_address(), 0)) as gone:
        target = gone.getsockname()

    def try_it() -> None:  # the reset may come before `connect` returns
        client.connect(target)
        client.recv(1)

    with pytest.raises(ConnectionResetError):
        await trio.to_thread.run_sync(try_it)
    nursery.cancel_scope.cancel()


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; it only has an address chosen
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])
