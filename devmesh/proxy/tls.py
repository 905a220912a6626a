"""TLS over a connection: looks like a connection itself."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

from devmesh.proxy.reactor import Address, Connection, Owner

_RECORD = 1 << 14  # plain bytes in one record, at most (RFC 8446 §5.1)

Verify = Callable[[ssl.SSLObject], str]
"""Checks who the peer has proved to be, once the handshake is done: what is wrong, or ""."""


def _anyone(session: ssl.SSLObject) -> str:
    return ""


class TlsConnection(Owner):
    """Implements `Connection` on top of another one, which it owns.

    All that has arrived is decrypted at once, so nothing waits inside TLS unseen: level-triggered
    readiness stays true.

    Args:
        raw: Up already, or on its way.
        first: Bytes of the peer's that were read to find out that it is TLS.

    Attributes:
        session: Of the standard library: certificates, the protocol agreed on.
    """

    __slots__ = (
        "_early",
        "_ended",
        "_finishing",
        "_incoming",
        "_outgoing",
        "_verify",
        "error",
        "established",
        "owner",
        "raw",
        "session",
    )

    def __init__(
        self,
        raw: Connection,
        owner: Owner,
        context: ssl.SSLContext,
        *,
        server: bool,
        server_name: str | None = None,
        verify: Verify = _anyone,
        first: bytes = b"",
    ) -> None:
        self.raw = raw
        self.owner = owner
        self.established = False
        self.error = ""
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server, server_hostname=server_name or None
        )
        self._verify = verify
        self._early: list[bytes] = []
        self._ended = self._finishing = False
        if first:
            self._incoming.write(first)
        raw.owner = self

    def start(self) -> None:
        """Begin the handshake; for a connection that is up already."""
        self._shake_hands()

    # -- as the owner of `raw` --

    def connected(self) -> None:
        self._shake_hands()

    def readable(self) -> None:
        if self.established:
            self.owner.readable()
            return
        data = self.raw.recv()
        if data is None:
            return
        if not data:
            self._fail(self.raw.error or "connection closed during the TLS handshake")
            return
        self._incoming.write(data)
        self._shake_hands()

    def drained(self) -> None:
        if self.established:
            self.owner.drained()

    def lost(self, reason: str) -> None:
        self.error = self.error or reason
        self.owner.lost(reason)

    # -- as a connection --

    @property
    def pending(self) -> int:
        return self.raw.pending if self.established else sum(map(len, self._early))

    def keep_alive(self, probes: int, time: int, interval: int) -> None:
        self.raw.keep_alive(probes, time, interval)

    def recv(self) -> bytes | None:
        if self._ended:
            return b""
        if not self._incoming.pending:
            data = self.raw.recv()
            if not data:
                if data is not None:
                    self.error = self.raw.error
                return data
            self._incoming.write(data)
        return self._decrypt()

    def recv_view(self) -> bytes | None:
        return self.recv()

    def send(self, data: bytes | memoryview) -> None:
        if not self.established:
            self._early.append(bytes(data))
        elif not self._finishing:
            try:
                self.session.write(data)
            except ssl.SSLError as error:
                self.error = self.error or text_of(error)
                return
            self.raw.send(self._outgoing.read())

    def flush(self) -> None:
        self.raw.flush()

    def pause(self) -> None:
        self.raw.pause()

    def resume(self) -> None:
        self.raw.resume()
        if self.established and self._incoming.pending and not self.error:
            self.owner.readable()  # came along with the handshake, when the owner could not take it

    def finish(self) -> None:
        if self._finishing:
            return
        self._finishing = True
        if self.established:
            self._say_goodbye()

    def close(self) -> None:
        self.owner = _NOBODY
        if self.established and not self._finishing and not self.raw.pending:
            self._finishing = True
            self._say_goodbye()
        self.raw.close()

    def abort(self) -> None:
        self.owner = _NOBODY
        self.raw.abort()

    @property
    def remote(self) -> Address:
        return self.raw.remote

    @property
    def local(self) -> Address:
        return self.raw.local

    def show(self, *, local: Address | None = None, remote: Address | None = None) -> None:
        self.raw.show(local=local, remote=remote)

    def original(self) -> Address | None:
        return self.raw.original()

    # --

    def _shake_hands(self) -> None:
        try:
            self.session.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()  # the alert
            self._fail(text_of(error))
            return
        self._flush()
        wrong = self._verify(self.session)
        if wrong:
            self._fail(wrong)
            return
        self.established = True
        self.owner.connected()
        early, self._early = b"".join(self._early), []
        if early and not self.error:
            self.session.write(early)
            self._flush()
            if not self.raw.pending:  # else `raw` tells when that is sent
                self.owner.drained()
        if self._finishing:
            self._say_goodbye()
        if self._incoming.pending and not self.error:
            self.owner.readable()  # came along with the end of the handshake

    def _decrypt(self) -> bytes | None:
        session, incoming = self.session, self._incoming
        pieces: list[bytes] = []
        try:
            piece = session.read(_RECORD)
            while piece:
                if not incoming.pending and not session.pending():
                    if not pieces:
                        return piece
                    pieces.append(piece)
                    return b"".join(pieces)
                pieces.append(piece)
                piece = session.read(_RECORD)
            self._ended = True  # close_notify
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLZeroReturnError:
            self._ended = True
        except ssl.SSLError as error:
            self.error, self._ended = self.error or text_of(error), True
            self._flush()
        if pieces:
            return b"".join(pieces)  # an end is told by the next call: `recv` gives it at once
        return b"" if self._ended else None

    def _flush(self) -> None:
        if self._outgoing.pending:
            self.raw.send(self._outgoing.read())

    def _say_goodbye(self) -> None:
        """Send close_notify, then the end of the stream below."""
        with suppress(ssl.SSLError):  # it waits for the peer's, which is no business of ours
            self.session.unwrap()
        self._flush()
        self.raw.finish()

    def _fail(self, reason: str) -> None:
        self.error = reason
        owner = self.owner
        self.owner = _NOBODY
        self.raw.finish()
        self.raw.close()
        owner.lost(reason)


_NOBODY = Owner()


def text_of(error: ssl.SSLError) -> str:
    """Return why TLS failed, in OpenSSL's words (Envoy: "TLS error: ...")."""
    verify = getattr(error, "verify_message", "")
    reason = (error.reason or str(error.args[-1] if error.args else error)).replace("_", " ").lower()
    return f"TLS error: {reason}{': ' + verify if verify else ''}"
