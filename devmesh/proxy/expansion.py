"""What Envoy's command operators stand for in the header values of routes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from devmesh.proxy.http1 import Response
from devmesh.proxy.sockets import text_of
from devmesh.traffic.headers import Expand, named

if TYPE_CHECKING:
    from devmesh.proxy.exchange import Exchange


def expander(exchange: Exchange, response: Response | None, *, rewritten: bool = True) -> Expand:
    """Return what expands operators for one exchange; RESP needs the `response`.

    Args:
        rewritten: REQ sees path and authority as they are sent on. Envoy evaluates a request's own headers
            before that.
    """

    def expand(name: str, argument: str) -> str | None:
        request, side = exchange.request, exchange.side
        match name:
            case "REQ":
                return named(argument, lambda header: _of_request(exchange, header, rewritten))
            case "RESP":
                return named(argument, response.headers.get) if response is not None else None
            case "PROTOCOL":
                return request.version
            case "DOWNSTREAM_REMOTE_ADDRESS":
                return text_of(side.client_of(request))
            case "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT":
                return side.client_of(request)[0]
            case "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT":
                return side.remote[0]
            case "DOWNSTREAM_REMOTE_PORT":
                return str(side.client_of(request)[1])
            case "DOWNSTREAM_LOCAL_ADDRESS":
                return side.local_text
            case "UPSTREAM_REMOTE_ADDRESS" | "UPSTREAM_HOST":
                return exchange.pool.host if exchange.pool else None
            case "UPSTREAM_CLUSTER" | "UPSTREAM_CLUSTER_RAW":
                return exchange.cluster.name or None
            case "ROUTE_NAME":
                return exchange.route.name if exchange.route else None
            case "RESPONSE_CODE":
                return str(response.status) if response is not None else "0"  # not known yet
            case "RESPONSE_FLAGS":
                return exchange.flags or "-"
            case "START_TIME":
                started = exchange.plane.reactor.time()
                form = argument if argument and "%f" not in argument else "%Y-%m-%dT%H:%M:%S.000Z"
                return time.strftime(form, time.gmtime(started))
            case "HOSTNAME":
                return exchange.side.instance
        return None

    return expand


def _of_request(exchange: Exchange, header: str, rewritten: bool) -> str | None:
    request = exchange.request
    match header:
        case ":method":
            return request.method
        case ":path":
            return exchange.path if rewritten else request.path
        case ":authority" | "host":
            return exchange.authority if rewritten else request.authority
        case ":scheme":
            return request.scheme
        case "x-request-id":
            return exchange.request_id or None
    return request.headers.get(header)
