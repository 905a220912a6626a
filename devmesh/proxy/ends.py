"""The two ends of an exchange: where its request comes from, and what carries a try to an endpoint.

Both are spoken in HTTP/1.1 and in HTTP/2; an `Exchange` does not know in which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from devmesh.proxy.http1 import Fields, Response
from devmesh.proxy.reactor import Connection

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange


class Downstream(Protocol):
    """Whoever an exchange answers: a client's connection, one of its streams, or nobody (a mirror's).

    Bodies come in the form that `Response.length` tells: framed by chunks where it is `CHUNKED`, bare
    otherwise.
    """

    @property
    def pending(self) -> int:
        """Bytes of answers that haven't left yet."""

    def inform(self, response: Response) -> None:
        """Send a 1xx."""

    def answer(self, exchange: Exchange, response: Response, piece: bytes, ended: bool) -> None:
        """Send the head of an upstream's answer, and what there is of its body."""

    def answer_more(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        """Send more of its body; at the end, maybe, trailers."""

    def reply(self, exchange: Exchange, status: int, body: bytes, fields: Fields) -> None:
        """Send a whole answer of the proxy's own."""

    def finished(self, *, reusable: bool) -> None:
        """The answer is complete."""

    def cut(self) -> None:
        """The answer will never be complete: end so that the client sees it."""

    def hold(self) -> None:
        """Read no more of the request for now."""

    def unhold(self) -> None:
        """Read on."""

    def surrender(self) -> tuple[Connection, bytes]:
        """Give up the connection, which speaks something else from now on, and what was read ahead of it."""


class Carrier(Protocol):
    """What carries a try to its endpoint: a connection of HTTP/1.1, or one stream of HTTP/2.

    Attributes:
        local: The address that it comes from.
    """

    local: str

    @property
    def pending(self) -> int:
        """Bytes of the request that haven't left yet."""

    def begin(self, exchange: Exchange, body: bytes) -> None:
        """Send the request's head, and what has come of its body."""

    def upload(self, piece: bytes, ended: bool, trailers: Fields | None) -> None:
        """Send more of its body, in the form that `Request.length` tells."""

    def pause(self) -> None:
        """Read no more of the response for now."""

    def resume(self) -> None:
        """Read on."""

    def discard(self) -> None:
        """End; nothing of the exchange goes on here."""

    def surrender(self) -> Connection:
        """Give the connection away; `abandon` counts it out when it ends."""

    def abandon(self) -> None:
        """The connection that was given away has ended."""
