"""Real namespaces: whose connection arrives where, and what is left when a pod goes."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from devmesh.runtime.network import links
from devmesh.runtime.network.fabric import Fabric
from devmesh.runtime.network.hub import open_links
from devmesh.runtime.network.namespaces import Namespaces
from devmesh.runtime.network.original import original_destination
from devmesh.runtime.network.selection import Selection
from devmesh.snapshot.network import INBOUND_SOURCE, MARK_HOP, MARK_PROXY

from .conftest import SECONDS, Applications, Watcher, accept

pytestmark = pytest.mark.netns
VIP = "240.240.7.7"


@pytest.mark.parametrize("target", [VIP, "2001:2::7", "10.1.2.3", "fd77::1"])
def test_what_leaves_a_pod_arrives_at_its_outbound_listener(
    run_pod: Applications, watcher: Watcher, target: str
) -> None:
    client = run_pod("client").connect(target, 9080)

    with watcher.accept("client", "outbound") as accepted:
        assert original_destination(accepted) == (target, 9080)
        client.sendall(b"hello")
        assert accepted.recv(5) == b"hello"


def test_a_captured_connection_has_the_large_segments_of_loopback(
    run_pod: Applications, watcher: Watcher
) -> None:
    client = run_pod("client").connect(VIP, 9080)
    watcher.accept("client", "outbound").close()
    assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) > 30_000


@pytest.mark.parametrize("version", [0, 1])
def test_what_enters_a_pod_arrives_at_its_inbound_listener(
    run_pod: Applications, watcher: Watcher, version: int
) -> None:
    stranger, server = run_pod("stranger", meshed=False), run_pod("server")
    address = server.pod.addresses[version]

    stranger.connect(address, 9080)

    with watcher.accept("server", "inbound") as accepted:
        assert original_destination(accepted) == (address, 9080)


@pytest.mark.parametrize("version", [0, 1])
def test_a_hop_arrives_as_a_strangers_connection_would(
    run_pod: Applications, fabric: Fabric, watcher: Watcher, version: int
) -> None:
    address = run_pod("server").pod.addresses[version]

    with fabric.dial("server", address, 9080, mark=MARK_HOP), watcher.accept("server", "inbound") as accepted:
        assert original_destination(accepted) == (address, 9080)


@pytest.mark.parametrize(("version", "source"), [(0, "127.0.0.6"), (1, "::6")])
def test_the_last_hop_reaches_the_application_from_istios_address(
    run_pod: Applications, fabric: Fabric, version: int, source: str
) -> None:
    server = run_pod("server")
    address = server.pod.addresses[version]
    listener = server.listen(address, 9080)

    with fabric.dial("server", address, 9080, mark=MARK_PROXY, bind=INBOUND_SOURCE):
        assert accept(listener) == source


def test_the_same_port_in_two_pods(run_pod: Applications, fabric: Fabric) -> None:
    for name in ("one", "two"):
        server = run_pod(name)
        listener = server.listen("0.0.0.0", 9080)
        with fabric.dial(name, server.pod.addresses[0], 9080, mark=MARK_PROXY):
            accept(listener)


def test_what_a_pod_says_to_itself_passes_by_the_proxy(run_pod: Applications) -> None:
    server = run_pod("server")
    listener = server.listen("0.0.0.0", 9080)

    for address in ("127.0.0.1", server.pod.addresses[0]):
        server.connect(address, 9080)
        accept(listener)


def test_a_pod_that_calls_its_own_service(run_pod: Applications, fabric: Fabric, watcher: Watcher) -> None:
    server = run_pod("server")
    server.connect(VIP, 80)

    with watcher.accept("server", "outbound") as accepted:
        assert original_destination(accepted) == (VIP, 80)
    with (
        fabric.dial("server", server.pod.addresses[0], 9080, mark=MARK_HOP),
        watcher.accept("server", "inbound") as accepted,
    ):
        assert original_destination(accepted) == (server.pod.addresses[0], 9080)


def test_nothing_is_redirected_in_a_gateway(run_pod: Applications, fabric: Fabric, watcher: Watcher) -> None:
    gateway, client = run_pod("gateway", gateway=True), run_pod("client", meshed=False)
    assert watcher.captures["gateway"].outbound is None
    with fabric.listen("gateway", "0.0.0.0", 8080) as listener:
        listener.settimeout(SECONDS)
        client.connect(gateway.pod.addresses[0], 8080)
        accept(listener)


def test_other_udp_goes_from_pod_to_pod(run_pod: Applications) -> None:
    one, two = run_pod("one"), run_pod("two")
    receiver = two.socket("0.0.0.0", socket.SOCK_DGRAM)
    receiver.bind(("0.0.0.0", 5000))

    one.socket("0.0.0.0", socket.SOCK_DGRAM).sendto(b"ping", (two.pod.addresses[0], 5000))

    assert receiver.recvfrom(10)[0] == b"ping"


def test_udp_to_the_world_fails_at_once(run_pod: Applications) -> None:
    sender = run_pod("one").socket("0.0.0.0", socket.SOCK_DGRAM)
    sender.connect(("192.0.2.1", 443))
    with pytest.raises(PermissionError):
        sender.send(b"?")


@pytest.mark.parametrize("port", [15001, 15006])
def test_who_dials_a_listeners_own_port_is_known(
    run_pod: Applications, fabric: Fabric, watcher: Watcher, port: int
) -> None:
    run_pod("server").connect("127.0.0.1", port)
    side = {15001: "outbound", 15006: "inbound"}[port]

    with watcher.accept("server", side) as accepted:
        assert original_destination(accepted) is None


def test_ports_that_the_annotations_leave_alone(run_pod: Applications) -> None:
    selection = Selection.of(
        {
            "traffic.sidecar.istio.io/excludeOutboundPorts": "5432",
            "traffic.sidecar.istio.io/excludeInboundPorts": "5432,9091",
        }
    )
    one, two = run_pod("one", selection=selection), run_pod("two", selection=selection)
    database = two.listen("0.0.0.0", 5432)

    one.connect(two.pod.addresses[0], 5432)

    assert accept(database) == one.pod.addresses[0]


def test_ranges_that_the_annotations_ask_for(run_pod: Applications, watcher: Watcher) -> None:
    selection = Selection.of(
        {
            "traffic.sidecar.istio.io/includeOutboundIPRanges": "240.240.0.0/16",
            "traffic.sidecar.istio.io/includeOutboundPorts": "81",
            "traffic.sidecar.istio.io/includeInboundPorts": "",
        }
    )
    one, two = run_pod("one", selection=selection), run_pod("two", selection=selection)
    web = two.listen("0.0.0.0", 80)

    one.connect(two.pod.addresses[0], 80)
    accept(web)
    for address, port in ((VIP, 80), (two.pod.addresses[0], 81)):
        one.connect(address, port)
        with watcher.accept("one", "outbound") as accepted:
            assert original_destination(accepted) == (address, port)


def test_a_captured_pod_is_told_to_a_watcher_that_comes_later(run_pod: Applications, fabric: Fabric) -> None:
    run_pod("early")
    watcher = Watcher()
    fabric.subscribe(watcher)
    assert list(watcher.captures) == ["early"]


def test_a_released_pod_leaves_nothing(fabric: Fabric, watcher: Watcher) -> None:
    fabric.create("first")
    before, descriptors = os.listdir("/sys/class/net"), len(os.listdir("/proc/self/fd"))
    pod = fabric.create("pod")
    fabric.release("pod")
    fabric.release("pod")

    assert watcher.gone == ["pod"]
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert os.listdir("/sys/class/net") == before  # the host's own, at any time
    with pytest.raises(OSError, match="gone") as refused:
        fabric.dial("pod", pod.addresses[0], 80, mark=MARK_HOP)
    assert refused.value.errno == errno.EHOSTUNREACH


def test_the_link_of_a_released_pod_goes_with_its_namespace(fabric: Fabric, namespaces: Namespaces) -> None:
    fabric.create("stays")
    fabric.create("goes")
    fabric.release("goes")

    assert fabric._hub is not None
    deadline = time.monotonic() + SECONDS  # the kernel takes namespaces down from a work queue
    with open_links(namespaces, fabric._hub._netns) as inside:
        while "pod4" in links.link_names(inside.request([links.list_links()])).values():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert "pod3" in links.link_names(inside.request([links.list_links()])).values()


def test_a_killed_devmesh_leaves_nothing() -> None:
    """Its namespaces are nobody's then: the kernel removes them, and what was in them."""
    program = (
        "import os, signal; from devmesh.runtime.network.fabric import Fabric;"
        "from devmesh.runtime.network.namespaces import InlineNamespaces;"
        "fabric = Fabric(InlineNamespaces()); pod = fabric.create('pod');"
        "print(os.readlink(pod.netns_path), flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    before = sorted(os.listdir("/sys/class/net"))

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    # A descriptor's link reads net:[4026531840], as a process's does.
    assert done.stdout.startswith("net:[")
    assert done.stdout.strip() not in namespaces_of_processes()
    assert sorted(os.listdir("/sys/class/net")) == before


def namespaces_of_processes() -> set[str]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(process / "ns/net"))
    return found


def test_an_address_is_not_given_again_soon(fabric: Fabric) -> None:
    first = fabric.create("one").addresses
    fabric.release("one")
    assert fabric.create("two").addresses != first


def test_a_virtual_address_never_leads_outside(fabric: Fabric) -> None:
    with pytest.raises(ConnectionRefusedError):
        fabric.dial(None, "240.240.9.9", 80, mark=MARK_PROXY)
