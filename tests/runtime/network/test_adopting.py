"""Namespaces that somebody else made: a container's, here another fabric's."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.namespaces import InlineNamespaces
from devmesh.runtime.network.original import original_destination
from devmesh.snapshot.network import MARK_HOP, MARK_PROXY

from .conftest import Application, Watcher, accept

pytestmark = pytest.mark.netns
VIP = "240.240.7.7"


@dataclass
class Engine:
    """Stands for Docker: containers with links and addresses, and no rules of devmesh's."""

    fabric: Fabric
    namespaces: InlineNamespaces

    def start(self, name: str) -> Application:
        application = Application(self.namespaces, self.fabric.create(name, gateway=True, meshed=False))
        self.started.append(application)
        return application

    def __post_init__(self) -> None:
        self.started: list[Application] = []


@pytest.fixture
def engine() -> Iterator[Engine]:
    namespaces = InlineNamespaces()
    made = Engine(Fabric(namespaces), namespaces)
    yield made
    for application in made.started:
        application.close()
    made.fabric.close()


@pytest.fixture
def namespaces() -> InlineNamespaces:
    return InlineNamespaces()


def test_a_containers_traffic_is_taken_over(engine: Engine, fabric: Fabric, watcher: Watcher) -> None:
    container = engine.start("web")
    pod = fabric.adopt("web", container.pod.netns_path)
    assert pod.addresses == container.pod.addresses
    assert pod.adopted

    container.connect(VIP, 80)
    with watcher.accept("web", "outbound") as accepted:
        assert original_destination(accepted) == (VIP, 80)
    with (
        fabric.dial("web", pod.addresses[0], 80, mark=MARK_HOP),
        watcher.accept("web", "inbound") as accepted,
    ):
        assert original_destination(accepted) == (pod.addresses[0], 80)


def test_a_process_tells_its_namespace(engine: Engine, fabric: Fabric, watcher: Watcher) -> None:
    container = engine.start("web")
    command = ["nsenter", f"--net={container.pod.netns_path}", "sh", "-c", "echo here; read line"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert fabric.adopt("web", process.pid).addresses == container.pod.addresses
        process.communicate(b"\n")


def test_what_is_outside_the_mesh_is_dialled_from_the_container(engine: Engine, fabric: Fabric) -> None:
    web, outside = engine.start("web"), engine.start("outside")
    listener = outside.listen("0.0.0.0", 80)
    fabric.adopt("web", web.pod.netns_path)

    with fabric.dial(None, outside.pod.addresses[0], 80, mark=MARK_PROXY, origin="web"):
        assert accept(listener) == web.pod.addresses[0]


@pytest.mark.parametrize("meshed", [True, False])
def test_a_network_without_a_way_out_still_leads_to_services(
    engine: Engine, fabric: Fabric, watcher: Watcher, meshed: bool
) -> None:
    container, server = engine.start("internal"), engine.start("server")
    remove_default_route(container)
    fabric.adopt("internal", container.pod.netns_path, meshed=meshed)
    listener = server.listen("0.0.0.0", 80)
    fabric.update_backends({(VIP, 80): ((server.pod.addresses[0], 80),)})
    container.connect(VIP, 80)
    if meshed:
        watcher.accept("internal", "outbound").close()
    else:
        accept(listener)


def test_captured_connections_of_a_container_have_large_segments(
    engine: Engine, fabric: Fabric, watcher: Watcher
) -> None:
    container = engine.start("web")
    command = ["nsenter", f"--net={container.pod.netns_path}", "ip", "link", "set", "eth0", "mtu", "1500"]
    subprocess.run(command, check=True)
    fabric.adopt("web", container.pod.netns_path)
    client = container.connect(VIP, 80)
    watcher.accept("web", "outbound").close()
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 30_000


def remove_default_route(container: Application) -> None:
    command = ["nsenter", f"--net={container.pod.netns_path}", "ip", "route", "del", "default"]
    subprocess.run(command, check=True)


def test_an_application_that_has_devmeshs_ports(engine: Engine, fabric: Fabric, watcher: Watcher) -> None:
    container = engine.start("istio-like")
    own = container.listen("0.0.0.0", 15001)
    fabric.adopt("istio-like", container.pod.netns_path)
    container.connect(VIP, 80)
    with watcher.accept("istio-like", "outbound") as accepted:
        assert original_destination(accepted) == (VIP, 80)
    container.connect("127.0.0.1", 15001)
    assert accept(own) == "127.0.0.1"


def test_a_container_outside_the_mesh_keeps_its_own_way_out(engine: Engine, fabric: Fabric) -> None:
    client, server = engine.start("client"), engine.start("server")
    listener = server.listen("0.0.0.0", 9080)
    fabric.adopt("client", client.pod.netns_path, meshed=False)
    fabric.update_backends({(VIP, 80): ((server.pod.addresses[0], 9080),)})

    for address, port in ((VIP, 80), (server.pod.addresses[0], 9080)):
        client.connect(address, port)
        assert accept(listener) == client.pod.addresses[0]


def test_a_released_container_is_as_it_was(engine: Engine, fabric: Fabric, watcher: Watcher) -> None:
    client, server = engine.start("client"), engine.start("server")
    listener = server.listen("0.0.0.0", 80)
    fabric.adopt("client", client.pod.netns_path)
    fabric.release("client")
    client.connect(server.pod.addresses[0], 80)
    assert accept(listener) == client.pod.addresses[0]


def test_rules_that_a_crash_left_are_replaced(engine: Engine, watcher: Watcher, fabric: Fabric) -> None:
    container = engine.start("web")
    crashed = Fabric(InlineNamespaces())
    crashed.adopt("web", container.pod.netns_path)
    left = crashed._members.pop("web")  # as a crash leaves it: descriptors closed, rules in place
    left.equipment.close()
    left.equipment.forget()
    os.close(left.network.netns_fd)

    fabric.adopt("web", container.pod.netns_path)

    container.connect(VIP, 80)
    watcher.accept("web", "outbound").close()
    crashed.close()


@pytest.mark.parametrize("netns", ["/proc/0/ns/net", 2**22 + 1, "/etc/passwd"])
def test_what_is_no_namespace_is_an_error(fabric: Fabric, netns: str | int) -> None:
    with pytest.raises(OSError, match=r"No such|Invalid"):
        fabric.adopt("gone", netns)
    assert fabric.network("gone") is None
