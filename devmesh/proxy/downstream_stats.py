"""What a proxy counts of its clients, under Envoy's names."""

from __future__ import annotations


class HttpStats:
    """Counters of one HTTP connection manager: of one port, on one side.

    Attributes:
        http2_total, http2_active: The connections that speak HTTP/2, counted among all.
        http2_requests: Requests that came by them.
        responses: Answers by status; 0 is a request whose client went before it was answered.
    """

    __slots__ = (
        "cx_active",
        "cx_total",
        "http2_active",
        "http2_requests",
        "http2_total",
        "responses",
        "rq_active",
    )

    def __init__(self) -> None:
        self.cx_total = self.cx_active = self.rq_active = 0
        self.http2_total = self.http2_active = self.http2_requests = 0
        self.responses: dict[int, int] = {}

    def reset(self) -> None:
        """Begin to count anew; what is under way stays."""
        self.cx_total = self.http2_total = self.http2_requests = 0
        self.responses.clear()

    def values(self) -> dict[str, int]:
        """Return the values by Envoy's names, without the ``http.<prefix>.`` in front."""
        classes = dict.fromkeys(range(1, 6), 0)
        for status, count in list(self.responses.items()):
            if status:
                classes[min(status // 100, 5)] += count
        answered = sum(classes.values())
        gone = self.responses.get(0, 0)
        return {
            "downstream_cx_active": self.cx_active,
            "downstream_cx_destroy": max(0, self.cx_total - self.cx_active),
            "downstream_cx_http1_active": self.cx_active - self.http2_active,
            "downstream_cx_http1_total": self.cx_total - self.http2_total,
            "downstream_cx_http2_active": self.http2_active,
            "downstream_cx_http2_total": self.http2_total,
            "downstream_cx_total": self.cx_total,
            **{f"downstream_rq_{kind}xx": count for kind, count in classes.items()},
            "downstream_rq_active": self.rq_active,
            "downstream_rq_completed": answered,
            "downstream_rq_http1_total": answered + gone + self.rq_active - self.http2_requests,
            "downstream_rq_http2_total": self.http2_requests,
            "downstream_rq_rx_reset": gone,
            "downstream_rq_total": answered + gone + self.rq_active,
        }
