"""ServiceEntry, WorkloadEntry, WorkloadGroup (Istio: the validating webhook)."""

from __future__ import annotations

from collections.abc import Iterator, Set

from devmesh.config.documents.serviceentry import (
    ServiceEntry,
    ServiceEntrySpec,
    WorkloadEntry,
    WorkloadEntrySpec,
)
from devmesh.config.documents.workloadgroup import WorkloadGroup, WorkloadProbe
from devmesh.config.problems import Cause, MapKey, Path, duplicate, forbidden, invalid, required, warning
from devmesh.config.validation import istio, names

_DYNAMIC = {"HTTP", "HTTP2", "GRPC", "TLS"}


def service_entry(resource: ServiceEntry) -> Iterator[Cause]:
    spec = resource.spec
    resolution = spec.resolution or "NONE"
    if spec.workload_selector is not None:
        yield from istio.selector(spec.workload_selector.labels, ("spec", "workloadSelector"), given=True)
        if spec.endpoints:
            yield forbidden(("spec", "endpoints"), "not beside workloadSelector")
    yield from _hosts(spec)
    yield from _addresses(spec, resolution)
    yield from _ports(spec)
    match resolution:
        case "NONE":
            yield from _none(spec)
        case "STATIC":
            for n, endpoint in enumerate(spec.endpoints):
                yield from _endpoint(endpoint, spec, ("spec", "endpoints", n), named=False)
        case "DNS" | "DNS_ROUND_ROBIN":
            yield from _dns(spec, resolution)
        case "DYNAMIC_DNS":
            yield from _dynamic(spec)
    told_apart = all(istio.is_http(p.protocol) or istio.is_tls(p.protocol) for p in spec.ports)
    if resolution != "NONE" and len(spec.hosts) > 1 and not told_apart:
        detail = "several hosts cannot be told apart on a TCP port: write a ServiceEntry for each"
        yield invalid(("spec", "hosts"), list(spec.hosts), detail)
    yield from istio.export_to(spec.export_to, resource.metadata.namespace or "", nobody=True)


def _hosts(spec: ServiceEntrySpec) -> Iterator[Cause]:
    yield from istio.needs(spec.hosts, ("spec", "hosts"))
    for n, host in enumerate(spec.hosts):
        path: Path = ("spec", "hosts", n)
        if host == "*":
            yield invalid(path, host, "a ServiceEntry cannot be for every host: use *.example.com")
        elif wrong := istio.wildcard_domain(host):
            yield invalid(path, host, wrong)
        elif istio.partial_wildcard(host) and spec.resolution != "DYNAMIC_DNS":
            yield warning(path, "a wildcard stands for whole labels (*.example.com)")


def _addresses(spec: ServiceEntrySpec, resolution: str) -> Iterator[Cause]:
    for n, address in enumerate(spec.addresses):
        if not names.cidr(address):
            yield invalid(("spec", "addresses", n), address, "no IP address and no CIDR block")
        elif "/" in address and resolution not in ("NONE", "STATIC"):
            yield invalid(("spec", "addresses", n), address, f"no CIDR blocks with resolution {resolution}")


def _ports(spec: ServiceEntrySpec) -> Iterator[Cause]:
    seen_names: set[str] = set()
    numbers: set[int] = set()
    for n, port in enumerate(spec.ports):
        path: Path = ("spec", "ports", n)
        if not port.name:
            yield required((*path, "name"))
        else:
            yield from istio.port_name(port.name, (*path, "name"))
        if port.name in seen_names:
            yield duplicate((*path, "name"), port.name)
        if port.number in numbers:
            yield duplicate((*path, "number"), port.number)
        seen_names.add(port.name)
        numbers.add(port.number)
        yield from istio.port(port.number, (*path, "number"))
        if port.target_port:
            yield from istio.port(port.target_port, (*path, "targetPort"))
        yield from istio.protocol(port.protocol, (*path, "protocol"))
        opaque = port.protocol.upper() in ("", "TCP") and not spec.addresses
        if opaque and (spec.resolution or "NONE") == "NONE":
            yield warning((*path, "protocol"), "matches every address on this port: give the entry addresses")


def _none(spec: ServiceEntrySpec) -> Iterator[Cause]:
    if spec.endpoints:
        yield forbidden(("spec", "endpoints"), "not with resolution NONE: use STATIC or DNS")
    if spec.workload_selector is not None:
        yield warning(("spec", "workloadSelector"), "has no effect with resolution NONE: use STATIC")


def _dns(spec: ServiceEntrySpec, resolution: str) -> Iterator[Cause]:
    if not spec.endpoints:
        for n, host in enumerate(spec.hosts):
            if wrong := istio.fqdn(host):
                detail = f"{wrong}: without endpoints the hosts themselves are resolved"
                yield invalid(("spec", "hosts", n), host, detail)
    if resolution == "DNS_ROUND_ROBIN" and len(spec.endpoints) > 1:
        yield forbidden(("spec", "endpoints"), "at most one with resolution DNS_ROUND_ROBIN")
    for n, endpoint in enumerate(spec.endpoints):
        yield from _endpoint(endpoint, spec, ("spec", "endpoints", n), named=True)
    if spec.addresses and len(spec.hosts) > 1 and any(p.protocol.upper() in ("", "TCP") for p in spec.ports):
        yield warning(("spec", "hosts"), "several hosts share addresses on a TCP port: only one can be meant")


def _dynamic(spec: ServiceEntrySpec) -> Iterator[Cause]:
    for n, host in enumerate(spec.hosts):
        if "*" not in host:
            yield invalid(("spec", "hosts", n), host, "must be a wildcard with resolution DYNAMIC_DNS")
    for field, value in (("addresses", spec.addresses), ("endpoints", spec.endpoints)):
        if value:
            yield forbidden(("spec", field), "not with resolution DYNAMIC_DNS")
    for n, port in enumerate(spec.ports):
        if port.protocol.upper() not in _DYNAMIC:
            detail = "must be HTTP, HTTP2, GRPC or TLS with resolution DYNAMIC_DNS"
            yield invalid(("spec", "ports", n, "protocol"), port.protocol, detail)


def _endpoint(
    endpoint: WorkloadEntrySpec, spec: ServiceEntrySpec, path: Path, *, named: bool
) -> Iterator[Cause]:
    yield from _entry(endpoint, path, named=named, ports={port.name for port in spec.ports})


def workload_entry(resource: WorkloadEntry) -> Iterator[Cause]:
    yield from _entry(resource.spec, ("spec",), named=True, ports=None)


def _entry(entry: WorkloadEntrySpec, path: Path, *, named: bool, ports: Set[str] | None) -> Iterator[Cause]:
    """Check an endpoint; `named` where its address may be a host, `ports` the service's where known."""
    address = entry.address
    if not address:
        yield from istio.needs(entry.network, (*path, "address"))
    elif address.startswith("unix://"):
        if entry.ports:
            yield forbidden((*path, "ports"), "not with a unix socket")
    elif not names.ip_address(address):
        if not named:
            yield invalid((*path, "address"), address, "must be an IP address with resolution STATIC")
        elif wrong := istio.fqdn(address):
            yield invalid((*path, "address"), address, wrong)
    for name, number in entry.ports.items():
        at: Path = (*path, "ports", MapKey(name))
        yield from istio.port_name(name, at)
        yield from istio.port(number, at)
        if ports is not None and name not in ports:
            yield invalid(at, name, "the ServiceEntry has no port of this name")
    yield from istio.label_set(entry.labels, (*path, "labels"))


def workload_group(resource: WorkloadGroup) -> Iterator[Cause]:
    spec = resource.spec
    if spec.template is None:
        yield required(("spec", "template"))
    if spec.metadata is not None:
        yield from istio.label_set(spec.metadata.labels, ("spec", "metadata", "labels"))
    if spec.probe is not None:
        yield from _probe(spec.probe, ("spec", "probe"))


def _probe(probe: WorkloadProbe, path: Path) -> Iterator[Cause]:
    methods = [m for m in (probe.http_get, probe.tcp_socket, probe.exec, probe.grpc) if m is not None]
    if len(methods) != 1:
        yield required(path, "give one of httpGet, tcpSocket, exec, grpc")
    if probe.http_get is not None:
        yield from istio.port(probe.http_get.port, (*path, "httpGet", "port"))
    if probe.tcp_socket is not None:
        yield from istio.port(probe.tcp_socket.port, (*path, "tcpSocket", "port"))
    if probe.exec is not None:
        yield from istio.needs(probe.exec.command, (*path, "exec", "command"))
