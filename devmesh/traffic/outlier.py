"""Which endpoints are left out for a while because they fail (Envoy's outlier detection).

Consecutive failures eject at once; a sweep every `interval` seconds lets endpoints return and, as long
as they behave, forgets how often they were ejected.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from devmesh.snapshot.cluster import OutlierDetection

Key = tuple[str, int]

MAX_EJECTION_TIME = 300.0  # seconds (Envoy: max_ejection_time)
_LATE = 0.02  # seconds by which one sweep may come later after its beat than the next
RESET, TIMEOUT = 503, 504  # what failures without a response count as

_OF_GRPC = {0: 200, 1: 499, 2: 500, 3: 400, 4: 504, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 10: 409,
            11: 400, 12: 501, 13: 500, 14: 503, 15: 500, 16: 401}  # fmt: skip


def status_of_grpc(code: int) -> int:
    """Return the HTTP status as which a gRPC status counts; it has to stand in the response's head."""
    return _OF_GRPC.get(code, 500)


class Ejections:
    """What Envoy counts as ``outlier_detection.ejections_*``; detected ones need not be enforced."""

    __slots__ = (
        "detected_5xx",
        "detected_gateway",
        "detected_local",
        "enforced_5xx",
        "enforced_gateway",
        "enforced_local",
        "enforced_total",
        "overflow",
    )

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin to count anew."""
        self.detected_5xx = self.detected_gateway = self.detected_local = 0
        self.enforced_5xx = self.enforced_gateway = self.enforced_local = self.enforced_total = 0
        self.overflow = 0  # not ejected, since so many are already


class _Host:
    __slots__ = (
        "backoff",
        "consecutive_5xx",
        "consecutive_gateway",
        "consecutive_local",
        "returned",
        "since",
    )

    def __init__(self) -> None:
        self.consecutive_5xx = self.consecutive_gateway = self.consecutive_local = 0
        self.backoff = 0  # by this the ejection time is multiplied
        self.since = 0.0  # the last ejection
        self.returned = 0.0  # from it


class Detector:
    """Watches the endpoints of one cluster for one proxy.

    Methods that judge return whether `ejected` has changed; whoever owns the detector then calls
    `sweep` at `next_sweep`, as long as there is one.
    """

    def __init__(self, settings: OutlierDetection, ejected: set[Key], counts: Ejections, now: float) -> None:
        self.settings = settings
        self.ejected = ejected
        self.counts = counts
        self._began = now
        self._hosts: dict[Key, _Host] = {}
        self._members: Collection[Key] = ()

    def watch(self, members: Iterable[Key]) -> None:
        """Take `members` as the cluster's endpoints from now on; what is known of others is forgotten."""
        kept = self._members = frozenset(members)
        self._hosts = {key: host for key, host in self._hosts.items() if key in kept}
        self.ejected.intersection_update(kept)

    # -- what happens to requests --

    def answered(self, key: Key, status: int, now: float) -> bool:
        """Judge a response. Envoy: with codes of its own these are errors like 500, all others like 200."""
        if self.settings.statuses:
            status = 500 if status in self.settings.statuses else 200
        return self._status(key, status, now)

    def failed(self, key: Key, now: float, status: int = RESET) -> bool:
        """Judge a failure on this side: no connection, a reset, or (`TIMEOUT`) no answer in time."""
        if not self.settings.split_local_origin:
            return self._status(key, status, now)
        host = self._host(key)
        host.consecutive_local += 1
        limit = self.settings.consecutive_local
        if host.consecutive_local != limit or not self._may_eject(key):
            return False
        self.counts.detected_local += 1
        ejected = self._eject(key, host, now)
        host.consecutive_local = 0
        self.counts.enforced_local += ejected
        return ejected

    def connected(self, key: Key, now: float, *, final: bool = False) -> bool:
        """Judge that there is a connection; `final`: nothing above it will be judged (TCP)."""
        host = self._hosts.get(key)
        if host is not None:
            host.consecutive_local = 0
            if final and not self.settings.split_local_origin:
                return self._status(key, 200, now)
        return False

    def _status(self, key: Key, status: int, now: float) -> bool:
        if status < 500:
            host = self._hosts.get(key)
            if host is not None:
                host.consecutive_5xx = host.consecutive_gateway = 0
            return False
        host, settings = self._host(key), self.settings
        ejected = False
        host.consecutive_gateway = host.consecutive_gateway + 1 if status in (502, 503, 504) else 0
        if host.consecutive_gateway == settings.consecutive_gateway > 0 and self._may_eject(key):
            self.counts.detected_gateway += 1
            ejected = self._eject(key, host, now)
            host.consecutive_gateway = 0
            self.counts.enforced_gateway += ejected
        host.consecutive_5xx += 1
        if host.consecutive_5xx == settings.consecutive_5xx > 0 and self._may_eject(key):
            self.counts.detected_5xx += 1
            enforced = self._eject(key, host, now)
            host.consecutive_5xx = 0
            self.counts.enforced_5xx += enforced
            ejected = ejected or enforced
        return ejected

    def _host(self, key: Key) -> _Host:
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = _Host()
        return host

    def _may_eject(self, key: Key) -> bool:
        return key in self._members and key not in self.ejected

    def _eject(self, key: Key, host: _Host, now: float) -> bool:
        """Envoy: never more than the percentage, the candidate included; with the default of 10 % it takes
        ten endpoints until one may go."""
        settings = self.settings
        if 100.0 * (len(self.ejected) + 1) / len(self._members) > settings.max_ejection_percent:
            self.counts.overflow += 1
            return False
        self.counts.enforced_total += 1
        self.ejected.add(key)
        host.since = now
        longest = max(MAX_EJECTION_TIME, settings.base_ejection_time)
        if host.backoff * settings.base_ejection_time < longest + settings.base_ejection_time:
            host.backoff += 1
        return True

    # -- as time passes --

    def next_sweep(self, now: float) -> float | None:
        """Return when to sweep next; None: there is nothing to sweep.

        The sweeps keep to the beat that began with the detector, as Envoy's timer does.
        """
        if not any(host.backoff for host in self._hosts.values()):
            return None
        interval = self.settings.interval
        beats = int((now - self._began) / interval + 1e-9) + 1
        return self._began + beats * interval

    def sweep(self, now: float) -> bool:
        """Let return those whose time is over, and lower the multiplier of those that have been back for an
        interval."""
        settings, returned = self.settings, False
        longest = max(MAX_EJECTION_TIME, settings.base_ejection_time)
        for key, host in self._hosts.items():
            if key in self.ejected:
                if min(settings.base_ejection_time * host.backoff, longest) > now - host.since + 1e-6:
                    continue
                self.ejected.discard(key)
                host.consecutive_5xx = host.consecutive_gateway = host.consecutive_local = 0
                host.returned = now
                returned = True
            elif host.backoff and now - host.returned + _LATE >= settings.interval:
                host.backoff -= 1
        return returned
