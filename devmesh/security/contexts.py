"""TLS contexts: those of the workloads, renewed by themselves, and those made of a user's PEM."""

from __future__ import annotations

import hashlib
import logging
import os
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from devmesh.model.identity import Identity, InvalidIdentity
from devmesh.security.ca import LIFETIME, Certificate, CertificateAuthority

log = logging.getLogger(__name__)

# What Istio's sidecars offer each other; the first two of each are how a server tells mesh traffic
# from an application's own TLS.
ALPN_HTTP1 = ("istio-http/1.1", "istio", "http/1.1")
ALPN_HTTP2 = ("istio-h2", "istio", "h2")
ALPN_TCP = ("istio-peer-exchange", "istio")
# By preference of the server: whichever of the three lists a client offers, its first entry is agreed on.
ALPN_SERVER = ("istio-http/1.1", "istio-h2", "istio-peer-exchange", "istio", "http/1.1", "h2")
ALPN_MESH = frozenset({"istio-http/1.0", "istio-http/1.1", "istio-h2", "istio-peer-exchange", "istio"})

RENEW_AFTER = 0.45  # of the lifetime: before half of it is gone
_CHECK_EVERY = 60.0
_MAX_PEERS = 4096
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # for TLS 1.2; those of 1.3 are OpenSSL's


@dataclass(frozen=True, slots=True)
class SecretInfo:
    """A workload's certificate, as ``proxy-config secret`` shows it: without its key.

    `serial` is in hexadecimal; times are seconds since the epoch.
    """

    identity: str
    serial: str
    not_before: float
    not_after: float
    certificate_pem: str
    roots_pem: str
    root_serial: str
    root_not_before: float
    root_not_after: float


@dataclass(slots=True)
class _Held:
    """One identity's certificate with the contexts made of it; replaced whole when renewed."""

    certificate: Certificate
    renew_at: float
    contexts: dict[tuple[bool, tuple[str, ...]], ssl.SSLContext] = field(default_factory=dict)
    asked_for: bool = False


class Certificates:
    """Hands out TLS contexts by identity, and renews what they are made of.

    Ask for a context per connection: it is a look-up, and the answer changes with each renewal.
    Connections keep the context that they began with, so none is dropped, and since the roots stay
    trusted, old and new certificates accept each other.

    Args:
        clock: Seconds since the epoch; certificates age by it.
    """

    def __init__(
        self,
        ca: CertificateAuthority,
        clock: Callable[[], float] = time.time,
        lifetime: float = LIFETIME,
    ) -> None:
        self._ca = ca
        self._clock = clock
        self._lifetime = lifetime
        self._held: dict[Identity, _Held] = {}
        self._peers: dict[bytes, tuple[Identity | None, str]] = {}

    def server(self, identity: Identity, protocols: tuple[str, ...] = ALPN_SERVER) -> ssl.SSLContext:
        """Return the context that accepts mesh clients as `identity`: a client without a certificate of
        this mesh fails the handshake."""
        return self._context(identity, True, protocols)

    def client(self, identity: Identity, protocols: tuple[str, ...] = ALPN_HTTP1) -> ssl.SSLContext:
        """Return the context that calls as `identity`.

        It verifies the chain and no host name: the caller compares `peer_identity` with the identity
        that the endpoint should have.
        """
        return self._context(identity, False, protocols)

    def peer_identity(self, session: ssl.SSLObject | ssl.SSLSocket) -> Identity | None:
        """Return what the peer proved; None without a certificate, or with one that names no identity."""
        return self._peer(session)[0]

    def peer_hash(self, session: ssl.SSLObject | ssl.SSLSocket) -> str:
        """Return the SHA-256 of the peer's certificate (DER) in hex, as x-forwarded-client-cert's Hash;
        "" without a certificate."""
        return self._peer(session)[1]

    def describe(self, identity: Identity) -> SecretInfo:
        """Return the certificate that `identity` proves itself with now."""
        certificate = self._current(identity).certificate
        root_serial, root_not_before, root_not_after = self._ca.root
        return SecretInfo(
            str(identity),
            f"{certificate.serial:x}",
            certificate.not_before,
            certificate.not_after,
            certificate.certificate_pem,
            self._ca.roots_pem,
            f"{root_serial:x}",
            root_not_before,
            root_not_after,
        )

    async def run(self) -> None:
        """Renew certificates in time, for ever.

        Looks at the clock each minute rather than sleep until the next one is due: the loop's clock
        stands still while a laptop is suspended, and certificates go on ageing.
        """
        while True:
            await trio.sleep(_CHECK_EVERY)
            for identity in list(self._held):
                self._renew_if_due(identity)
                await trio.lowlevel.checkpoint()

    def reroot(self) -> None:
        """Replace the root without dropping a connection: first everybody trusts the new one as well, then
        all certificates are renewed under it."""
        added = self._ca.add_root(self._clock())
        for held in self._held.values():
            for context in held.contexts.values():
                context.load_verify_locations(cadata=added)
            held.renew_at = 0.0

    def _renew_if_due(self, identity: Identity) -> None:
        held = self._held[identity]
        if self._clock() < held.renew_at:
            return
        if held.asked_for:
            self._held[identity] = self._issue(identity)
            log.debug("renewed certificate of %s", identity)
        else:  # nobody has used it since it was made: its workload is gone
            del self._held[identity]

    def _current(self, identity: Identity) -> _Held:
        held = self._held.get(identity)
        if held is None or self._clock() >= held.renew_at:
            held = self._held[identity] = self._issue(identity)
        held.asked_for = True
        return held

    def _issue(self, identity: Identity) -> _Held:
        now = self._clock()
        return _Held(self._ca.issue(identity, now, self._lifetime), now + self._lifetime * RENEW_AFTER)

    def _context(self, identity: Identity, server: bool, protocols: tuple[str, ...]) -> ssl.SSLContext:
        held = self._current(identity)
        context = held.contexts.get((server, protocols))
        if context is None:
            pair = held.certificate
            context = mutual_context(
                server, pair.certificate_pem + pair.key_pem, self._ca.roots_pem, protocols
            )
            held.contexts[server, protocols] = context
        return context

    def _peer(self, session: ssl.SSLObject | ssl.SSLSocket) -> tuple[Identity | None, str]:
        der = session.getpeercert(True)
        if not der:
            return None, ""
        known = self._peers.get(der)
        if known is None:
            if len(self._peers) >= _MAX_PEERS:
                self._peers.clear()
            known = self._peers[der] = (_identity_of(session), hashlib.sha256(der).hexdigest())
        return known


def mutual_context(server: bool, chain_pem: str, roots_pem: str, protocols: Sequence[str]) -> ssl.SSLContext:
    """Build a context for mesh TLS: 1.2 or newer, the peer's certificate required and verified by
    `roots_pem`, the host name not looked at. `chain_pem` holds the key too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.load_verify_locations(cadata=roots_pem)
    load_chain(context, chain_pem)
    context.set_alpn_protocols(protocols)
    if server:  # connections are pooled and renewed with their certificates: resuming gains nothing
        context.num_tickets = 0
        context.options |= ssl.OP_NO_TICKET
    return context


def load_chain(context: ssl.SSLContext, chain_pem: str) -> None:
    """Give `context` a certificate chain with its key, both in `chain_pem`, without touching a disk.

    `load_cert_chain` takes paths alone, so it reads a file that exists only in memory.

    Raises:
        ssl.SSLError: The PEM is malformed, or the key is another certificate's.
    """
    descriptor = os.memfd_create("devmesh", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(chain_pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _identity_of(session: ssl.SSLObject | ssl.SSLSocket) -> Identity | None:
    names: Any = (session.getpeercert() or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1:  # SPIFFE X.509-SVID §2: exactly one
        return None
    try:
        return Identity.parse(uris[0])
    except InvalidIdentity:
        return None
