"""TLS of a Gateway's server: its certificates from Secrets or mounted files, and its rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from devmesh.config import kinds
from devmesh.config.documents.gateway import ServerTLSSettings
from devmesh.model.workload import Instance
from devmesh.pilot.credentials import Credentials, Pem
from devmesh.pilot.gateway_tables import BoundServer
from devmesh.pilot.problems import Problems
from devmesh.pilot.proxy_files import MOUNTS, VOLUMES, ProxyFiles
from devmesh.snapshot.proxy import ServerTls, TcpRoute, TlsRules
from devmesh.snapshot.route import RouteTable

_VERIFYING = ("MUTUAL", "OPTIONAL_MUTUAL")
# Istio's list; what is not on it is left out.
_CIPHERS = frozenset(
    {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA",
        "AES128-GCM-SHA256",
        "AES256-GCM-SHA384",
        "AES128-SHA",
        "AES256-SHA",
        "DES-CBC3-SHA",
    }
)


@dataclass(frozen=True, slots=True)
class GatewayTls:
    """Compiles the TLS of the servers of one gateway's instance."""

    instance: Instance
    credentials: Credentials
    problems: Problems

    def of(self, bound: BoundServer, routes: RouteTable | None, tcp: tuple[TcpRoute, ...] = ()) -> ServerTls:
        """Return a server's TLS. Without a certificate every handshake with it fails, and a finding says so
        (Istio: the listener waits for the secret)."""
        tls = bound.server.tls
        assert tls is not None
        mode = tls.mode or "SIMPLE"
        hosts = tuple(dict.fromkeys(host for _, host in bound.hosts))
        rules = self._rules(bound, tls)
        if mode == "ISTIO_MUTUAL":
            return ServerTls(mode, hosts, routes=routes, tcp=tcp, rules=rules)
        found = list(self._certificates(bound, tls))
        if not found:
            return ServerTls(mode, hosts, routes=routes, tcp=tcp, rules=rules)
        ca = self._authority(bound, tls, found) if mode in _VERIFYING else ""
        first, *more = found
        pems = tuple(f"{pem.certificate.strip()}\n{pem.key.strip()}\n" for pem in more)
        name = tls.credential_name or next(iter(tls.credential_names), "")
        return ServerTls(mode, hosts, first.certificate, first.key, ca, routes, tcp, pems, rules, name)

    def _certificates(self, bound: BoundServer, tls: ServerTLSSettings) -> Iterator[Pem]:
        names = [("credentialName", tls.credential_name)] if tls.credential_name else []
        names += [(f"credentialNames[{n}]", name) for n, name in enumerate(tls.credential_names)]
        for field, name in names:
            pem = self.credentials.find(self.instance.namespace, name)
            if pem is not None and pem.certificate:
                yield pem
            else:
                self._missing_secret(bound, field, name)
        if names:
            return
        pairs = [("", tls.server_certificate, tls.private_key)] if tls.server_certificate else []
        pairs += [
            (f"tlsCertificates[{n}].", each.server_certificate, each.private_key)
            for n, each in enumerate(tls.tls_certificates)
        ]
        for prefix, certificate, key in pairs:
            chain = self._file(bound, f"{prefix}serverCertificate", certificate)
            secret = self._file(bound, f"{prefix}privateKey", key)
            if chain and secret:
                yield Pem(chain, secret)

    def _authority(self, bound: BoundServer, tls: ServerTLSSettings, found: Sequence[Pem]) -> str:
        """Return whom to trust; empty, and a finding, where nobody is: every client is turned away then."""
        if tls.ca_cert_credential_name:
            ca = self.credentials.authority(self.instance.namespace, tls.ca_cert_credential_name)
        elif tls.ca_certificates:
            return self._file(bound, "caCertificates", tls.ca_certificates)
        else:
            ca = next((pem.ca for pem in found if pem.ca), "")
        if not ca:
            name = tls.ca_cert_credential_name or tls.credential_name
            self._complain(
                bound,
                "caCertCredentialName" if tls.ca_cert_credential_name else "credentialName",
                f"{tls.mode} verifies clients, but neither the Secret {name!r} nor {name + '-cacert'!r} in "
                f"namespace {self.instance.namespace!r} has ca.crt: TLS handshakes fail until one does",
            )
        return ca

    def _rules(self, bound: BoundServer, tls: ServerTLSSettings) -> TlsRules:
        for cipher in tls.cipher_suites:
            if cipher not in _CIPHERS:
                message = f"{cipher!r} is no cipher suite that Istio knows: it is left out"
                self._complain(bound, "cipherSuites", message, "DM0306")
        verifying = tls.mode in (*_VERIFYING, "ISTIO_MUTUAL")
        revoked = self._file(bound, "caCrl", tls.ca_crl) if tls.ca_crl else self._revoked(tls)
        return TlsRules(
            minimum=_version(tls.min_protocol_version, "TLSV1_2"),
            maximum=_version(tls.max_protocol_version, "TLSV1_3"),
            ciphers=tuple(cipher for cipher in tls.cipher_suites if cipher in _CIPHERS),
            sans=tls.subject_alt_names if verifying else (),
            hashes=tls.verify_certificate_hash if verifying else (),
            spkis=tls.verify_certificate_spki if verifying else (),
            crl_pem=revoked if tls.mode in _VERIFYING else "",
        )

    def _revoked(self, tls: ServerTLSSettings) -> str:
        name = tls.ca_cert_credential_name or tls.credential_name
        pem = self.credentials.find(self.instance.namespace, name) if name else None
        return pem.crl if pem else ""

    def _file(self, bound: BoundServer, field: str, path: str) -> str:
        text = self._files().read(path)
        if not text:
            message = (
                f"{path} is not mounted into the proxy of {self.instance.pod}: mount a Secret by the "
                f"annotations {VOLUMES} and {MOUNTS}; TLS handshakes fail until then"
            )
            self._complain(bound, field, message)
        return text or ""

    def _files(self) -> ProxyFiles:
        store, instance = self.credentials.store, self.instance
        return ProxyFiles(store, store.get(kinds.POD, instance.namespace, instance.pod), instance)

    def _missing_secret(self, bound: BoundServer, field: str, name: str) -> None:
        self._complain(
            bound,
            field,
            f"there is no Secret {name!r} with a certificate in namespace "
            f"{self.instance.namespace!r}, the gateway workload's: TLS handshakes fail until it is created",
        )

    def _complain(self, bound: BoundServer, field: str, message: str, code: str = "DM0301") -> None:
        path = bound.gateway.origin(f"spec.servers[{bound.index}].tls.{field}").path
        self.problems.add(code, "warning", bound.gateway.stored, path, message)


def _version(wanted: str | None, default: str) -> str:
    return default if wanted in (None, "TLS_AUTO") else wanted
