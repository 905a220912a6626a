"""Reading resolv.conf."""

from __future__ import annotations

import os
from pathlib import Path

from devmesh.runtime.dns.resolvconf import HostServers, nameservers


def test_servers_are_read_in_order_and_no_more_than_three() -> None:
    text = "# comment\nnameserver 127.0.0.53\noptions edns0\nnameserver fe80::1%eth0\nnameserver\n"
    text += "nameserver not-an-address\nnameserver 1.1.1.1 # two\nnameserver 8.8.8.8\n"
    assert nameservers(text) == ("127.0.0.53", "fe80::1%eth0", "1.1.1.1")


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    servers = HostServers(path)
    assert servers() == ()
    path.write_text("nameserver 10.0.0.1\n")
    assert servers() == ("10.0.0.1",)
    path.write_text("nameserver 10.0.0.2\n")
    os.utime(path, ns=(1, 1))
    assert servers() == ("10.0.0.2",)
    path.unlink()
    assert servers() == ()
