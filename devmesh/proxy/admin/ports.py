"""The ports of a pod on which its proxy tells of itself, as in Istio.

15000 on loopback is Envoy's admin interface; 15020 the agent's merged statistics and health; 15021
health, for gateways' load balancers; 15090 Envoy's statistics. None of them is ever taken over.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import trio

from devmesh.proxy.admin import actions, commands, information
from devmesh.proxy.admin.application import Scrape, fetch
from devmesh.proxy.admin.http import AdminServer, Asked, Reply
from devmesh.proxy.admin.prometheus import prometheus
from devmesh.proxy.admin.view import Controls, View
from devmesh.proxy.plane import Plane
from devmesh.proxy.reactor import Acceptor, Connection
from devmesh.security.contexts import SecretInfo
from devmesh.snapshot.network import ListenerSource
from devmesh.snapshot.proxy import Proxy

log = logging.getLogger(__name__)

ADMIN_PORT, AGENT_PORT, HEALTH_PORT, STATS_PORT = 15000, 15020, 15021, 15090
PORTS = {ADMIN_PORT: "127.0.0.1", AGENT_PORT: "0.0.0.0", HEALTH_PORT: "0.0.0.0", STATS_PORT: "0.0.0.0"}
_NOT_FOUND = Reply("404 page not found\n", 404)

Then = Callable[[Reply], None]


class Admin:
    """Answers for all proxies.

    Args:
        secret: Returns what a proxy proves itself with.
        metrics: Returns ``istio_*`` of one proxy, in pieces.
        scrape: Returns where an instance's application tells its own metrics.
    """

    def __init__(
        self,
        plane: Plane,
        controls: Controls,
        secret: Callable[[Proxy], SecretInfo | None],
        metrics: Callable[[Proxy], Iterable[str]],
        scrape: Callable[[str], Scrape | None] = lambda instance: None,
    ) -> None:
        self._plane, self._controls, self._scrape = plane, controls, scrape
        self._secret, self._metrics = secret, metrics

    def open(self, instance: str, listeners: ListenerSource) -> list[Acceptor]:
        """Listen in an instance's namespace; a port that its application has stays the application's."""
        found = []
        for port, address in PORTS.items():
            try:
                made = listeners.listen(instance, address, port)
            except OSError as error:
                log.info("no admin interface on port %d of %s: %s", port, instance, error)
                continue
            found.append(self._plane.reactor.accept(made, partial(self.serve, instance, port)))
        return found

    def serve(self, instance: str, port: int, connection: Connection) -> None:
        """Answer on a connection that arrived at `port`."""
        AdminServer(self._plane.reactor, connection, partial(self.answer, instance, port))

    def answer(self, instance: str, port: int, asked: Asked, then: Then) -> None:
        """Have `then` called with the answer that is given on `port`."""
        if port == ADMIN_PORT:
            self.command(instance, asked, then)
        elif asked.path == "/healthz/ready" and port in (AGENT_PORT, HEALTH_PORT):
            then(Reply("", information.ready(self.view(instance), asked).status))
        elif asked.path in ("/stats/prometheus", "/metrics") and port in (AGENT_PORT, STATS_PORT):
            more = partial(self._with_application, instance, then) if port == AGENT_PORT else then
            self._aside(partial(prometheus, self.view(instance), asked), more)
        elif asked.path == "/quitquitquit" and port == AGENT_PORT:
            allowed = asked.method == "POST"
            then(actions.quit_(self.view(instance), asked) if allowed else Reply("method not allowed\n", 405))
        else:
            then(_NOT_FOUND)

    def _with_application(self, instance: str, then: Then, reply: Reply) -> None:
        """Istio: enablePrometheusMerge. What the application says comes after what the proxy does."""
        scrape = self._scrape(instance)
        if scrape is None:
            then(reply)
        else:
            fetch(self._plane, instance, scrape, lambda text: then(replace(reply, body=reply.body + text)))

    def command(self, instance: str, asked: Asked, then: Then) -> None:
        """Carry out a command of the admin interface."""
        found = commands.find(asked)
        if isinstance(found, Reply):
            then(found)
        elif found.changes:
            then(found.answer(self.view(instance), asked))
        else:
            self._aside(partial(found.answer, self.view(instance), asked), then)

    async def ask(self, instance: str, asked: Asked) -> Reply:
        """Carry out a command of the admin interface, for whoever is inside devmesh."""
        done = trio.Event()
        replies: list[Reply] = []

        def answered(reply: Reply) -> None:
            replies.append(reply)
            done.set()

        self.command(instance, asked, answered)
        await done.wait()
        return replies[0]

    def view(self, instance: str) -> View:
        """Return a proxy as it is now."""
        snapshot = self._plane.feed.current
        proxy = snapshot.proxies.get(instance)
        return View(
            instance,
            self._plane,
            snapshot,
            proxy,
            self._plane.state(instance),
            self._controls,
            self._plane.reactor.time(),
            self._secret(proxy) if proxy is not None else None,
            self._metrics,
        )

    def _aside(self, work: Callable[[], Reply], then: Then) -> None:
        began = time.monotonic()

        def done(result: Reply | Exception) -> None:
            if isinstance(result, Exception):
                log.error("the admin interface failed", exc_info=result)
                result = Reply(f"devmesh failed to answer: {result!r}\n", 500)
            log.debug("answered in %.3f s", time.monotonic() - began)
            then(result)

        self._plane.reactor.aside(work, done)
