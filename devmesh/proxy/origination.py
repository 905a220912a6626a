"""TLS that a DestinationRule asks for: its certificates, from Secrets or from files in the client's pod."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace

from devmesh.proxy.reactor import Reactor
from devmesh.security.pem import BadCertificate, client_context
from devmesh.snapshot.cluster import TlsFiles, TlsMode, UpstreamTls
from devmesh.snapshot.network import PodFiles

log = logging.getLogger(__name__)

FRESH = 5.0  # seconds for which files count as read; Istio's agent watches them
_MOST = 512  # contexts; certificates that were replaced leave theirs behind


@dataclass(frozen=True, slots=True)
class _Read:
    settings: UpstreamTls
    at: float


class Origination:
    """Makes contexts, once for each setting, and reads files in time.

    Args:
        files: Where the files of pods are; None: nowhere.
    """

    def __init__(self, reactor: Reactor, files: PodFiles | None) -> None:
        self._reactor = reactor
        self._files = files
        self._read: dict[tuple[UpstreamTls, str], _Read] = {}
        self._waiting: dict[tuple[UpstreamTls, str], list[Callable[[], None]]] = {}
        self._contexts: dict[tuple[UpstreamTls, tuple[str, ...], bool], ssl.SSLContext | OSError] = {}

    def settings(self, tls: UpstreamTls, instance: str) -> UpstreamTls | None:
        """Return `tls` with what its files in the pod of `instance` hold; None: `read` them first.

        What was read a while ago serves while it is read again.
        """
        if tls.files is None:
            return tls
        found = self._read.get((tls, instance))
        if found is None:
            return None
        if found.at + FRESH < self._reactor.now():
            self.read(tls, instance, _nothing)
        return found.settings

    def read(self, tls: UpstreamTls, instance: str, then: Callable[[], None]) -> None:
        """Read the files, and call `then` when `settings` knows, also of what is wrong with them."""
        key = (tls, instance)
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(then)
            return
        self._waiting[key] = [then]
        files = tls.files or TlsFiles()
        reader = self._reader(instance)

        def done(result: UpstreamTls | Exception) -> None:
            if isinstance(result, Exception):
                log.info("a DestinationRule's files cannot be read", extra={"error": str(result)})
                result = replace(tls, error=f"TLS_error:{result}")
            self._read[key] = _Read(result, self._reactor.now())
            for call in self._waiting.pop(key):
                call()

        self._reactor.aside(lambda: _filled(tls, files, reader), done)

    def _reader(self, instance: str) -> Callable[[str], bytes]:
        if self._files is None:
            return _no_files
        try:
            return self._files.reader(instance)
        except OSError as error:
            return _failing(error)

    def context(self, tls: UpstreamTls, *, protocols: tuple[str, ...], named: bool) -> ssl.SSLContext:
        """Return the context for connections by `tls`, whose files were read.

        Args:
            protocols: What will be spoken inside, as ALPN names it; empty: nothing is said of it.
            named: They have a server name, which the certificate has to be for unless `tls` says otherwise.

        Raises:
            OSError: There can be no such connection.
        """
        if tls.error:
            raise OSError(0, tls.error)
        key = (tls, protocols, named)
        made = self._contexts.get(key)
        if made is None:
            if len(self._contexts) >= _MOST:
                self._contexts.clear()
            made = self._contexts[key] = _make(tls, protocols, named)
        if isinstance(made, OSError):
            raise made
        return made

    def forget(self, instance: str) -> None:
        """Let go what was read for an instance that is gone."""
        for key in [key for key in self._read if key[1] == instance]:
            del self._read[key]


def _make(tls: UpstreamTls, protocols: tuple[str, ...], named: bool) -> ssl.SSLContext | OSError:
    try:
        made = client_context(tls, protocols)
    except BadCertificate as error:
        return OSError(0, f"TLS_error:{error}")
    made.check_hostname = made.check_hostname and named
    return made


def _filled(tls: UpstreamTls, files: TlsFiles, reader: Callable[[str], bytes]) -> UpstreamTls:
    def text(path: str) -> str:
        return reader(path).decode("utf-8", "replace") if path else ""

    mutual = tls.mode is TlsMode.MUTUAL
    return replace(
        tls,
        files=None,
        certificate_pem=text(files.certificate) if mutual else "",
        key_pem=text(files.key) if mutual else "",
        ca_pem=text(files.ca),
        crl_pem=text(files.crl),
    )


def _nothing() -> None: ...


def _no_files(path: str) -> bytes:
    raise FileNotFoundError(f"{path} cannot be read: the pods' files are not known here")


def _failing(error: OSError) -> Callable[[str], bytes]:
    def read(path: str) -> bytes:
        raise error

    return read
