"""Faults that a route injects, on the client's side and before anything is sent (Istio)."""

from __future__ import annotations

from devmesh.snapshot.route import Fault

ABORT_BODY = b"fault filter abort"
DETAILS = "fault_filter_abort"
"""What the access log says of an abort."""


def delay_for(fault: Fault, draw: float) -> float:
    """Return the seconds to hold a request back; 0 is none. The route's timeout doesn't cut it short.

    Args:
        draw: Uniform in [0, 1); not the one that `abort_for` gets, the two are independent.
    """
    return fault.delay if draw * 100 < fault.delay_percent else 0.0


def abort_for(fault: Fault, draw: float) -> tuple[int, int | None] | None:
    """Return the status to answer with, and the gRPC status where one is asked for; None: go on.

    Envoy: a gRPC abort is HTTP 200 with ``grpc-status`` and `ABORT_BODY` as ``grpc-message``.
    """
    if draw * 100 >= fault.abort_percent:
        return None
    if fault.abort_grpc_status is not None:
        return 200, fault.abort_grpc_status
    return (fault.abort_status, None) if fault.abort_status else None
