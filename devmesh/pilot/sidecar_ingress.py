"""The ports on which a Sidecar says that its workloads accept calls, and where these then go."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from devmesh.config.documents.sidecar import IstioIngressListener, SidecarSpec
from devmesh.model.port import Protocol, protocol_of
from devmesh.model.workload import Instance
from devmesh.pilot.peer_authentication import Modes
from devmesh.pilot.problems import Problems
from devmesh.pilot.proxy_files import MOUNTS, VOLUMES, ProxyFiles
from devmesh.pilot.resources import Loaded
from devmesh.snapshot.cluster import Limits, ServiceRef
from devmesh.snapshot.proxy import InboundPort, LastHop, MtlsMode, ServerTls

Sidecar = Loaded[SidecarSpec]
ReadTls = Callable[[Sidecar, int], ServerTls]
"""Reads the certificates of the ingress listener with that index."""

_BY_TLS = {Protocol.HTTPS: Protocol.HTTP, Protocol.TLS: Protocol.TCP}


def ports(
    sidecar: Sidecar, instance: Instance, modes: Modes, limits: Callable[[int], Limits], tls: ReadTls
) -> Iterator[InboundPort]:
    """Yield the ports that a Sidecar's ingress listeners open.

    Istio: they replace the ports that Services name. Telemetry calls the destination by the Sidecar's own
    name. A listener's TLS is in force where PeerAuthentication says DISABLE for its port, and then what is
    inside is read (Istio: behind the flag ENABLE_TLS_ON_SIDECAR_INGRESS).

    Args:
        limits: Returns the connection pool of a port.
    """
    service = ServiceRef(f"{sidecar.name}.{sidecar.namespace}", sidecar.name, sidecar.namespace)
    seen: set[int] = set()
    for index, listener in enumerate(sidecar.spec.ingress):
        if listener.port is None or listener.port.number in seen:
            continue
        number = listener.port.number
        seen.add(number)
        protocol, mode, server = protocol_of("", listener.port.protocol or None), modes.on(number), None
        if listener.tls is not None and mode is MtlsMode.DISABLE:
            protocol, server = _BY_TLS.get(protocol, protocol), tls(sidecar, index)
        yield InboundPort(
            number,
            protocol,
            mode,
            service,
            f"inbound|{number}||",
            sidecar.origin(f"spec.ingress[{index}]"),
            _last_hop(listener, instance),
            limits(number),
            server,
        )


def server_tls(
    sidecar: Sidecar, index: int, instance: Instance, files: ProxyFiles, problems: Problems
) -> ServerTls:
    """Return a listener's TLS, with the certificates that are mounted into the proxy.

    Where one is not there it is told, and handshakes fail.
    """
    tls = sidecar.spec.ingress[index].tls
    assert tls is not None
    found: dict[str, str] = {}
    for field, path in (
        ("serverCertificate", tls.server_certificate),
        ("privateKey", tls.private_key),
        ("caCertificates", tls.ca_certificates),
    ):
        text = files.read(path) if path else ""
        if text is None:
            problems.add(
                "DM0301",
                "warning",
                sidecar.stored,
                f"spec.ingress[{index}].tls.{field}",
                f"{path} is not mounted into the proxy of {instance.pod}: mount a Secret by the annotations "
                f"{VOLUMES} and {MOUNTS}; TLS handshakes fail until then",
            )
        found[field] = text or ""
    return ServerTls(
        tls.mode or "SIMPLE", (), found["serverCertificate"], found["privateKey"], found["caCertificates"]
    )


def _last_hop(listener: IstioIngressListener, instance: Instance) -> LastHop | None:
    """Istio: 0.0.0.0 is the workload's own address; without an endpoint it is what was called."""
    text = listener.default_endpoint
    if not text or text.startswith("unix://"):
        return LastHop(text, 0) if text else None
    host, _, port = text.rpartition(":")
    host = host.strip("[]")
    if host in ("0.0.0.0", "::"):
        other = "127.0.0.1" if host == "0.0.0.0" else "::1"
        host = next((a for a in instance.addresses if (":" in a) == (":" in other)), other)
    return LastHop(host, int(port))
