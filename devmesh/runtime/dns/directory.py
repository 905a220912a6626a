"""What DNS knows of the mesh: a function of the snapshot, the question, and who asks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from devmesh.model.outside import OutsideNames
from devmesh.model.port import Protocol
from devmesh.model.service import Service
from devmesh.runtime.dns import message
from devmesh.runtime.dns.message import Record
from devmesh.snapshot.snapshot import Snapshot

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Addresses that nobody but the mesh can know a name of: Services' and pods'.
OWN_NETWORKS = tuple(
    map(ipaddress.ip_network, ("240.240.0.0/16", "2001:2::/48", "10.244.0.0/16", "fd00:10:244::/64"))
)

_NDOTS = 5  # Kubernetes: names with as many dots are taken as they are


@dataclass(frozen=True, slots=True)
class Answer:
    """What the mesh has to say; no records with NOERROR means: the name is there, such a record isn't.

    `alias` is a name outside the mesh, whose records belong after these.
    """

    code: int = message.NOERROR
    records: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    alias: str = ""


class Directory:
    """The names of one snapshot. Short names depend on the asker's namespace, as a search list's would.

    Args:
        meshed: For who is in the mesh. Without a proxy a ServiceEntry's virtual address leads nowhere: as
            beside Istio, such askers know Services and pods alone, and the world tells them the rest.
        outside: Names of the world that are answered here.
    """

    def __init__(
        self, snapshot: Snapshot, *, meshed: bool = True, outside: OutsideNames | None = None
    ) -> None:
        self._snapshot = snapshot
        self._outside = outside or OutsideNames()
        self._domain = snapshot.mesh.domain
        self._services = f"svc.{self._domain}"
        self._names = snapshot.names if meshed else self._of_services(snapshot.names)
        self._aliases = snapshot.aliases
        none = message.authority_record(self._domain)
        self._no_such_name = Answer(message.NXDOMAIN, authority=(none,))
        self._no_such_record = Answer(authority=(none,))

    def addresses(self, name: str, namespace: str) -> tuple[str, ...] | None:
        """Return the addresses of a name, as an asker in `namespace` means it; None: not the mesh's.

        A name outside the cluster's domain that has no address of its own (a ServiceEntry without
        resolution) isn't the mesh's either: the world knows it.
        """
        host = self.find(name, namespace)
        if host is None:
            return self._pod(name) or self._outside.addresses(name)
        return self._names[host] or (() if self._is_ours(host) else self._outside.addresses(name))

    def find(self, name: str, namespace: str) -> str | None:
        """Return the key in the snapshot's names that stands for `name`.

        Istio's order (``pkg/dns``): the name as it is, then what a search list would have made of it. A
        resolver that has gone through its own search list already asks for ``api.example.com.ns.svc.
        cluster.local``: that is found too, at once.
        """
        found = self._known(name)
        if found is not None:
            return found
        for host in self._expansions(name, namespace):
            if host in self._names:
                return host
        for suffix in (f".{namespace}.{self._services}", f".{self._services}", f".{self._domain}"):
            if name.endswith(suffix) and "." in (rest := name[: -len(suffix)]):
                return self._known(rest)
        return None

    def answer(self, name: str, kind: int, namespace: str) -> Answer | None:
        """Answer a question of class IN; None: others are to be asked."""
        if name.endswith(".arpa"):
            return self._reverse(name) if kind in (message.PTR, message.ANY) else None
        if name.startswith("_"):
            found = self._named_port(name, namespace)
            if found is not None:
                host, ports = found
                return self._service_records(host, ports) if kind == message.SRV else self._no_such_record
        if (alias := self._alias(name, namespace)) is not None:
            return self._through(alias, kind, namespace)
        addresses = self.addresses(name, namespace)
        if addresses is None:
            return self._no_such_name if self._is_ours(name) else None
        if kind == message.SRV:
            host = self.find(name, namespace) or name
            service = self._snapshot.services.get(host)
            return self._service_records(
                host, [(p.number, p.target) for p in service.ports] if service else []
            )
        records = [message.address_record(address) for address in addresses]
        wanted = tuple(record for record in records if kind in (record.type, message.ANY))
        return Answer(records=wanted) if wanted else self._no_such_record

    def _of_services(self, names: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        return {name: found for name, found in names.items() if name.endswith(f".{self._services}")}

    def _alias(self, name: str, namespace: str) -> str | None:
        """Return what an ExternalName Service stands for."""
        if not self._aliases:
            return None
        for host in (name, *self._expansions(name, namespace)):
            if host in self._aliases:
                return self._aliases[host].rstrip(".").lower()
        return None

    def _through(self, alias: str, kind: int, namespace: str) -> Answer:
        first = message.alias_record(alias)
        addresses = self.addresses(alias, namespace) if kind != message.CNAME else ()
        if addresses is None:
            return Answer(records=(first,), alias=alias)
        records = [message.address_record(address, alias) for address in addresses]
        wanted = [record for record in records if kind in (record.type, message.ANY)]
        return Answer(records=(first, *wanted))

    def _is_ours(self, name: str) -> bool:
        return name == self._domain or name.endswith((f".{self._domain}", ".svc"))

    def _expansions(self, name: str, namespace: str) -> tuple[str, ...]:
        """What a pod's search list would have made of a name: containers of a Docker engine have none."""
        if name.count(".") >= _NDOTS:
            return ()
        return (
            f"{name}.{namespace}.{self._services}",
            f"{name}.{self._services}",
            f"{name}.{self._domain}",
        )

    def _known(self, name: str) -> str | None:
        """Return the key that `name` is, or the most specific wildcard over it."""
        if name in self._names:
            return name
        rest = name
        while "." in rest and self._has_wildcards:
            rest = rest.partition(".")[2]
            if f"*.{rest}" in self._names:
                return f"*.{rest}"
        return None

    @cached_property
    def _has_wildcards(self) -> bool:
        return any(name.startswith("*") for name in self._names)

    def _pod(self, name: str) -> tuple[str, ...] | None:
        """``10-244-0-5.<namespace>.pod.<domain>``, and the same before the name of a headless Service."""
        label, _, rest = name.partition(".")
        address = _undashed(label)
        if address is None:
            return None
        instance = self._snapshot.instances.get(self._snapshot.by_address.get(address, ""))
        if instance is not None and rest == f"{instance.namespace}.pod.{self._domain}":
            return (address,)
        return (address,) if address in self._names.get(rest, ()) else None

    def _named_port(self, name: str, namespace: str) -> tuple[str, list[tuple[int, int | str]]] | None:
        """Find ``_http._tcp.reviews.default.svc.cluster.local``."""
        parts = name.split(".", 2)
        if len(parts) < 3 or parts[1] not in ("_tcp", "_udp"):
            return None
        host = self.find(parts[2], namespace)
        service = self._snapshot.services.get(host) if host else None
        if host is None or service is None:
            return None
        wants_udp = parts[1] == "_udp"
        ports: list[tuple[int, int | str]] = [
            (port.number, port.target)
            for port in service.ports
            if f"_{port.name}" == parts[0] and (port.protocol is Protocol.UDP) == wants_udp
        ]
        return (host, ports) if ports else None

    def _service_records(self, host: str, ports: Sequence[tuple[int, int | str]]) -> Answer:
        service = self._snapshot.services.get(host)
        addresses = self._names.get(host, ())
        if not ports or not addresses:
            return self._no_such_record
        if service is not None and service.addresses:
            records = [message.service_record(number, host) for number, _ in ports]
            return Answer(records=tuple(records), additional=_with_name(addresses, host))
        targets = {address: f"{_dashed(address)}.{host}" for address in addresses}
        headless = [
            message.service_record(target if isinstance(target, int) else number, name)
            for name in targets.values()
            for number, target in ports
        ]
        extra = tuple(message.address_record(address, name) for address, name in targets.items())
        return Answer(records=tuple(headless), additional=extra)

    def _reverse(self, name: str) -> Answer | None:
        address = reversed_address(name)
        if address is None:
            return None
        known = self._by_address.get(address)
        if known is not None:
            return Answer(records=(message.name_record(known),))
        parsed = ipaddress.ip_address(address)
        return self._no_such_name if any(parsed in network for network in OWN_NETWORKS) else None

    @cached_property
    def _by_address(self) -> dict[str, str]:
        services: dict[str, str] = {}
        for host, service in self._snapshot.services.items():
            if host in self._names:
                services |= dict.fromkeys(_virtual(service), host)
        pods = {
            address: f"{_dashed(address)}.{instance.namespace}.pod.{self._domain}"
            for instance in self._snapshot.instances.values()
            for address in instance.addresses
        }
        return pods | services


def _virtual(service: Service) -> tuple[str, ...]:
    return () if service.host.startswith("*") else service.addresses


def _with_name(addresses: Sequence[str], name: str) -> tuple[Record, ...]:
    return tuple(message.address_record(address, name) for address in addresses)


def _dashed(address: str) -> str:
    return address.replace(".", "-").replace(":", "-")


def _undashed(label: str) -> str | None:
    """Read what `_dashed` writes."""
    for separator in (".", ":"):
        try:
            return str(ipaddress.ip_address(label.replace("-", separator)))
        except ValueError:
            continue
    return None


def reversed_address(name: str) -> str | None:
    """Read ``5.0.244.10.in-addr.arpa`` and its like in ip6.arpa; None: not a whole address."""
    labels = name.split(".")
    digits = labels[-3::-1]
    if labels[-2:] == ["in-addr", "arpa"] and len(digits) == 4:
        text = ".".join(digits)
    elif labels[-2:] == ["ip6", "arpa"] and len(digits) == 32 and all(len(digit) == 1 for digit in digits):
        text = ":".join("".join(digits[at : at + 4]) for at in range(0, 32, 4))
    else:
        return None
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
