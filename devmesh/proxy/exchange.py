"""One HTTP request and its response, from one side of a proxy to the other."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from devmesh.proxy import local
from devmesh.proxy.body import Body
from devmesh.proxy.cluster_stats import ClusterStats
from devmesh.proxy.deadlines import Deadline
from devmesh.proxy.ends import Carrier, Downstream
from devmesh.proxy.http1 import CHUNKED, Fields, Request, Response
from devmesh.proxy.http2.multiplex import Multiplex
from devmesh.proxy.pools import SHARED, ClusterState, Pool
from devmesh.proxy.reactor import HIGH
from devmesh.proxy.tracing import Trace
from devmesh.proxy.upstream import CONNECT_TIMEOUT, Upstream
from devmesh.snapshot.balancing import Cookie, Hashing
from devmesh.snapshot.cluster import Cluster, ClusterKind, Endpoint, ServiceRef
from devmesh.snapshot.route import Route, Weighted
from devmesh.telemetry.record import Record
from devmesh.traffic import grpc, hashing, outlier, retry
from devmesh.traffic.balancing import pick
from devmesh.traffic.grpc import Messages
from devmesh.traffic.retry import Reset

if TYPE_CHECKING:
    from devmesh.proxy.http2.client import Http2Client
    from devmesh.proxy.plane import Plane
    from devmesh.proxy.side import Side

log = logging.getLogger(__name__)

NO_WEIGHT = Weighted("")
NO_CLUSTER = Cluster("", ServiceRef("", "", ""), 0)
REPORT_EVERY = 5.0  # seconds (Istio: tcp_reporting_duration)
MAX_REPLAY = 1 << 16  # bytes of a request's body that are kept for another try; Envoy's buffer limit


class Exchange:
    """Takes a request through its decisions to an upstream, maybe several times, and the answer back.

    Attributes:
        route: What was decided; None: nothing accepted the request, or nothing was asked yet.
        upgrade: The protocol that the client wants instead, if it may.
        path, authority: Sent on; the request's own, if no route rewrites them.
        is_uploaded: The request has been read to its end.
        answering: The head of the answer is on its way: no more tries.
        body, response_body: Count the content; None: it was in one piece, or isn't there.
        stats: Of the cluster; None: no try has been made.
        set_cookie: Tells the client the cookie that its later requests are hashed by.
    """

    # Defaults on the class: most requests need few of these, and making an exchange is on the hot path.
    route: Route | None = None
    weighted = NO_WEIGHT
    cluster: Cluster = NO_CLUSTER
    state: ClusterState
    stats: ClusterStats | None = None
    set_cookie = ""
    endpoint: Endpoint | None = None
    pool: Pool | None = None  # of the endpoint
    upstream: Carrier | None
    trace: Trace | None = None
    request_id = ""
    original_path = ""
    head = ""  # of the request to send on, but for its last lines
    is_uploaded = False
    close = False  # the client's connection ends with the answer
    upgrade = ""
    answering = False
    attempts = 0
    status = 0
    flags = ""
    details = "via_upstream"
    transport_failure = ""
    sent_at = 0.0
    upstream_time: float | None = None
    upstream_local = ""
    upload_size = 0
    download_size = 0
    body: Body | None
    response_body: Body | None
    grpc_status: int | None = None
    request_messages: Messages | None = None  # of gRPC, where the body is bare
    response_messages: Messages | None = None
    told_messages = (0, 0)
    request_trailers: Fields | None = None
    timeout: float | None = None
    _held: tuple[bytes, ...] | None = ()  # what was read of the request's body; None: too much to keep
    _held_size = 0
    _is_new = False  # nobody has looked at the body yet
    _tried: tuple[Endpoint, ...] = ()
    _trying = False
    _active = False  # counted among the requests that have a connection
    _retrying = False  # counted among the retries
    _hash: int | None = None
    _repeated = False
    _over = False
    _waiting: Pool | Multiplex | None
    _timer: Deadline | None = None  # of the whole, or of what delays it
    _try_timer: Deadline | None = None
    _report_timer: Deadline | None = None  # of the messages of gRPC
    _shadows: tuple[Exchange, ...] = ()
    response_fields: tuple[tuple[str, str], ...] = ()  # added to the answer, by rate limits
    request_fields: tuple[tuple[str, str], ...] = ()  # added to what is sent on
    is_copy = False  # a mirror's: no client waits for it

    def __init__(self, side: Side, server: Downstream, request: Request) -> None:
        self.side = side
        self.server = server
        self.request = request
        self.plane: Plane = side.plane
        self.path = request.path
        self.close = request.close
        self.upgrade = request.upgrade
        self.authority = request.authority
        # Not on the class: mypyc forgets those of a Protocol's type there, or of one of two types.
        self.upstream = self.body = self.response_body = self._waiting = None
        self.began = self.plane.reactor.now()
        side.http.rq_active += 1

    # -- the request --

    def start(self, piece: bytes, uploaded: bool) -> None:
        """Begin, with the part of the body that came along with the head."""
        self.is_uploaded = uploaded
        self._held = (piece,) if piece else ()
        self._held_size = self.upload_size = len(piece)
        if self.request.is_grpc:
            self._begin_grpc(piece)
        self._is_new = True
        self.side.decide(self)
        self._is_new = False

    def upload(self, piece: bytes, uploaded: bool, trailers: Fields | None = None) -> None:
        """Take more of the request's body."""
        self.is_uploaded = uploaded
        self.request_trailers = trailers
        if self.request_messages is not None:
            self.request_messages.take(piece)
        self.upload_size += len(piece)
        for shadow in self._shadows:
            shadow.upload(piece, uploaded, trailers)
        upstream, held = self.upstream, self._held
        if held is not None:
            if self._held_size + len(piece) <= MAX_REPLAY or upstream is None:
                self._held = (*held, piece)
                self._held_size += len(piece)
            else:
                self._held = None  # too much to try again
        if upstream is not None:
            upstream.upload(piece, uploaded, trailers)
            if uploaded:  # what comes after it is no part of this request: there is nothing to hold
                self._arm()
            elif upstream.pending > HIGH:
                self.server.hold()
        elif not uploaded and self._held_size > MAX_REPLAY:
            self.server.hold()

    def upload_drained(self) -> None:
        """The upstream takes more of the request."""
        if not self.is_uploaded:
            self.server.unhold()

    def delay(self, seconds: float) -> None:
        """Hold the request back (an injected fault), then go on with `Side.delayed`."""
        self.add_flag("DI")
        self._timer = self.plane.reactor.deadline(seconds, self._delayed)

    def forward(self, route: Route) -> None:
        """Send the request to `cluster`, which was decided."""
        self.timeout = route.timeout if self.timeout is None else self.timeout
        if not self.is_uploaded and self._held_size > MAX_REPLAY:
            self.server.unhold()
        self._attempt()

    def last(self, seconds: float) -> None:
        """Let the request last so long altogether (Envoy: grpc_timeout_header_max, for inbound calls)."""
        self._timer = self.plane.reactor.deadline(seconds, self._lasted)

    def _lasted(self) -> None:
        self._timer = None
        upstream = self.upstream
        self._leave()
        if upstream is not None:
            self.upstream_local = upstream.local
            upstream.discard()
        if self.answering:
            self.details = "max_duration_timeout"
            self._end()
            self.server.cut()
        else:
            code = [("grpc-status", str(grpc.DEADLINE_EXCEEDED))]
            self.reply(408, b"downstream duration timeout", "", "max_duration_timeout", code)

    def shadow(self, shadows: tuple[Exchange, ...]) -> None:
        """Send the body to these too, which mirror this request."""
        self._shadows = shadows
        for each in shadows:
            each.is_uploaded = self.is_uploaded
            each._held, each._held_size = self._held, self._held_size
            each.upload_size = self.upload_size

    # -- a try --

    def _attempt(self) -> None:
        side, plane = self.side, self.plane
        if self.attempts:  # Envoy: the endpoints as they are by now
            self.cluster = side.present(self.cluster)
        cluster = self.cluster
        state = self.state = side.state.cluster(cluster.name)
        stats = self.stats = state.stats
        if state.used is not cluster and not self.attempts:
            state.use(cluster)
        endpoint: Endpoint | None
        if side.by_original or cluster.kind is ClusterKind.ORIGINAL_DST:
            endpoint = side.original_endpoint(cluster)
        elif cluster.hashing is not None:
            if not state.prepare_tables(cluster, self._prepared):
                return
            key = self._hashed(cluster.hashing)
            endpoint = pick(cluster, state.balancing, plane.draw(), exclude=self._tried, key=key)
        elif len(cluster.endpoints) == 1 and not state.balancing.ejected:
            endpoint = cluster.endpoints[0]
        else:
            now = plane.reactor.now() if cluster.warm_up is not None else 0.0
            endpoint = pick(cluster, state.balancing, plane.draw(), exclude=self._tried, now=now)
        if endpoint is None and cluster.kind is ClusterKind.DYNAMIC:
            endpoint = side.named_endpoint(self)
        if endpoint is None:
            stats.upstream_cx_none_healthy += 1
            self.reply(503, local.NO_HEALTHY_UPSTREAM, "UH", "no_healthy_upstream")
            return
        self.endpoint = endpoint
        self._trying = True
        state.balancing.begin(endpoint)
        pool = self.pool = state.pool(endpoint, side.variant(self) if cluster.divided else SHARED)
        if (cluster.http2 or cluster.by_client) and self._wants_http2(cluster):
            self._share(pool)
        elif pool.idle and state.requests < cluster.limits.max_requests:
            # As `_activate`, without the call: every request comes by here.
            self._active = True
            state.requests += 1
            stats.upstream_rq_total += 1
            pool.rq_total += 1
            if state.detector is not None:
                state.connected(endpoint.key)
            self._send(pool.idle.pop())
        else:
            self._take(pool)

    def _wants_http2(self, cluster: Cluster) -> bool:
        if self.upgrade:  # which is a matter of HTTP/1.1
            return False
        return cluster.http2 or self.request.version == "HTTP/2"

    def _prepared(self) -> None:
        """The tables that the cluster hashes by are there."""
        if not self._over:
            self._attempt()

    def _hashed(self, wanted: Hashing) -> int | None:
        """Return what stands for the request where its cluster hashes; found once."""
        if self._hash is None:
            request, side = self.request, self.side
            self._hash = hashing.key_of(
                wanted, request.headers, request.path, side.client_of(request)[0], self._make_cookie
            )
        return self._hash

    def _make_cookie(self, cookie: Cookie) -> str:
        value = hashing.cookie_for(self.side.remote_text, self.side.local_text)
        self.set_cookie = hashing.set_cookie(cookie, value)
        return value

    def _take(self, pool: Pool) -> None:
        """Find a connection, as Envoy's pool does: an idle one, else a new one, else wait for one."""
        state, limits, stats = self.state, self.cluster.limits, self.state.stats
        if pool.idle:
            if state.requests >= limits.max_requests:
                self._too_many()
            else:
                self._activate(pool)
                self._send(pool.idle.pop())
        elif state.pending >= limits.max_pending_requests:
            stats.upstream_rq_pending_overflow += 1
            self.failed("overflow", "", started=False)
        else:
            stats.upstream_rq_pending_total += 1
            self._connect_or_wait(pool)

    def _connect_or_wait(self, pool: Pool) -> None:
        state = self.state
        if state.connections >= self.cluster.limits.max_connections:
            state.stats.upstream_cx_overflow += 1
            if pool.own:  # else this one is made all the same: nothing would ever free one
                state.pending += 1
                self._waiting = pool
                pool.waiting.append(self)
                return
        self._dial(pool)

    def _activate(self, pool: Pool) -> None:
        """Count the request as one that has a connection."""
        self._active = True
        state = self.state
        state.requests += 1
        state.stats.upstream_rq_total += 1
        pool.rq_total += 1
        if state.detector is not None:
            state.connected(pool.endpoint.key)

    def _too_many(self) -> None:
        """More requests than the cluster allows at once: it has a connection, and may not use it."""
        self.state.stats.upstream_rq_active_overflow += 1
        self.failed("overflow", "", started=False)

    def _dial(self, pool: Pool) -> None:
        upstream = Upstream(pool)
        try:
            connection = self.side.connect(self.cluster, pool, upstream, self.named)
        except OSError as error:
            upstream.abandon()
            self.state.stats.upstream_cx_connect_fail += 1
            self.failed("connect-failure", error.strerror or str(error), started=False)
            return
        if connection is None:  # its name is being looked up
            upstream.abandon()
            return
        upstream.attach(connection, self.cluster.limits.connect_timeout)
        self._send(upstream)

    def _share(self, pool: Pool) -> None:
        """Find room on a connection of HTTP/2, as Envoy's pool does: on one that is there, else wait."""
        state, limits = self.state, self.cluster.limits
        shared = pool.multiplex
        if shared is None:
            shared = pool.multiplex = Multiplex(self.plane, pool)
        shared.limits = limits
        connection = shared.with_room()
        if connection is not None:
            if state.requests >= limits.max_requests:
                self._too_many()
            else:
                self._activate(pool)
                self._send(connection.stream())
        elif state.pending >= limits.max_pending_requests:
            state.stats.upstream_rq_pending_overflow += 1
            self.failed("overflow", "", started=False)
        else:
            state.stats.upstream_rq_pending_total += 1
            state.pending += 1
            self._waiting = shared
            shared.wait(self)

    def carried_by(self, connection: Http2Client) -> None:
        """Go on after waiting: there is room on a connection of HTTP/2."""
        self._waiting = None
        state, pool = self.state, self.pool
        state.pending -= 1
        if pool is None or state.requests >= self.cluster.limits.max_requests:
            self._too_many()
        else:
            self._activate(pool)
            self._send(connection.stream())

    def connection_free(self) -> None:
        """Go on after waiting: a connection is idle now, or one more may be made."""
        pool, self._waiting = self._waiting, None
        if not isinstance(pool, Pool):
            return
        state = self.state
        state.pending -= 1
        if not pool.idle:
            self._connect_or_wait(pool)
        elif state.requests >= self.cluster.limits.max_requests:
            self._too_many()
        else:
            self._activate(pool)
            self._send(pool.idle.pop())

    def named(self, found: bool) -> None:
        """Go on after an endpoint's name was looked up."""
        if self._over or self.upstream is not None:
            return
        if found and self.pool is not None and self._waiting is None:
            self._dial(self.pool)
        else:
            self._leave()
            self.reply(503, local.NO_HEALTHY_UPSTREAM, "UH", "no_healthy_upstream")

    def _send(self, upstream: Carrier) -> None:
        self.upstream = upstream
        self.attempts += 1
        self.sent_at = self.plane.reactor.now()
        upstream.begin(self, b"".join(self._held) if self._held_size and self._held is not None else b"")
        if not self.is_uploaded and upstream.pending <= HIGH:
            self.server.unhold()  # held, maybe, while there was no upstream
        route = self.route
        if self.timeout or (route and route.retry and route.retry.per_try_timeout):
            self._arm()

    def connected(self) -> None:
        """The connection of this try is up, and nothing has been sent yet."""
        if self._active or self.pool is None:
            return
        if self.state.requests < self.cluster.limits.max_requests:
            self._activate(self.pool)
            return
        upstream = self.upstream
        if upstream is not None:
            upstream.discard()
        self._too_many()

    def malformed(self, details: str) -> None:
        """The request's body breaks its framing."""
        upstream = self.upstream
        self._leave()
        if upstream is not None:
            upstream.discard()
        if self.answering:
            self.add_flag("DPE")
            self.details = details
            self._end()
            self.server.cut()
        else:
            self.reply(400, local.BAD_REQUEST, "DPE", details)

    def again(self) -> bool:
        """Send once more: the connection was idle for long and its peer had closed it. No try is counted."""
        if self._repeated or self._held is None or self._over:
            return False
        self._repeated = True
        self.attempts -= 1
        self.upstream = None
        if self.pool is None:
            return False
        self._dial(self.pool)
        return True

    def failed(self, reset: Reset, transport: str, *, started: bool) -> None:
        """A try ended without a complete response. `started`: some of the request may have been sent."""
        if self.upstream is None and reset != "overflow":  # it came to nothing before `_send` could count it
            self.attempts += 1
        self._leave()
        if self._over:
            return
        if reset != "overflow":  # that is the cluster's fault, not the endpoint's
            self._judge_failure(outlier.RESET)
        failure = local.FAILURES[reset]
        if self.answering:
            self.add_flag(failure.flag)
            self.details = f"upstream_reset_after_response_started{{{failure.reason}}}".replace(" ", "_")
            self._end()
            self.server.cut()
            return
        self.transport_failure = transport
        if self._retries(reset=reset, started=started):
            return
        reason = failure.reason
        if reset == "protocol-error":
            transport = self.transport_failure = ""
        if transport == CONNECT_TIMEOUT:
            reason, transport = transport, ""
        body = local.failure_body(reason, retried=self.attempts > 1)
        fields = [("x-envoy-overloaded", "true")] if reset == "overflow" else []
        details = local.failure_details(reason, transport)
        self.reply(failure.status, body, failure.flag, details, fields)

    def _retries(
        self, *, reset: Reset | None = None, response: Response | None = None, started: bool = True
    ) -> bool:
        """Try again if the policy says so; tell whether."""
        policy = self.route.retry if self.route else None
        if policy is None:
            return False
        state = self.state
        if self._retrying:
            self._retried()
        status = response.status if response else None
        grpc_status = grpc.status_in(response.headers) if response else None

        def wanted(attempts: int) -> bool:
            return retry.should_retry(
                policy,
                status=status,
                reset=reset,
                grpc_status=grpc_status,
                attempts=attempts,
                request_started=started,
                ratelimited=response is not None and "x-envoy-ratelimited" in response.headers,
            )

        if not wanted(self.attempts):
            if self.attempts > policy.attempts and wanted(1):
                self.add_flag("URX")
                state.stats.upstream_rq_retry_limit_exceeded += 1
            return False
        if self._held is None:
            return False
        if state.retries >= state.most_retries(self.cluster.limits):
            state.stats.upstream_rq_retry_overflow += 1
            self.add_flag("UO")
            return False
        self._retrying = True
        state.retries += 1
        state.stats.upstream_rq_retry += 1
        if policy.other_hosts and self.endpoint is not None:
            self._tried = (*self._tried, self.endpoint)
        wait = retry.backoff(policy, max(1, self.attempts), self.plane.draw())
        self._cancel_try_timer()
        self._try_timer = self.plane.reactor.deadline(wait, self._try_again)
        return True

    def _retried(self) -> None:
        """A retry has come to its end, and counts no longer."""
        self._retrying = False
        self.state.retries -= 1

    def _judge_failure(self, status: int) -> None:
        """Have outlier detection, where there is any, hear of a try without a response."""
        if self.endpoint is not None and self.state.detector is not None:
            self.state.failed(self.endpoint.key, status)

    def _try_again(self) -> None:
        self._try_timer = None
        self._attempt()

    def _leave(self) -> None:
        """Count the present try out; its connection is no longer ours."""
        self.upstream = None
        if self._try_timer is not None:
            self._cancel_try_timer()
        if self._waiting is not None:
            self._waiting.waiting.remove(self)
            self._waiting = None
            self.state.pending -= 1
        if self._active:
            self._active = False
            self.state.requests -= 1
        if self._trying and self.endpoint is not None:
            self._trying = False
            self.state.balancing.end(self.endpoint)

    # -- the answer --

    def inform(self, response: Response) -> None:
        """Pass a 1xx on; 100 has been answered already."""
        if response.status != 100 and not self.answering:
            self.server.inform(response)

    def upstream_done(self) -> None:
        """The response is complete; its connection may serve others."""
        if self.upstream is not None:
            self.upstream_local = self.upstream.local
        self._leave()

    def answer(self, response: Response, piece: bytes, ended: bool) -> None:
        """Take the response's head, and what came of its body."""
        status, route = response.status, self.route
        self.status = status
        state, pool = self.state, self.pool
        if state.detector is not None and pool is not None:
            self._judge(pool, response)
        if status >= 500 and pool is not None:
            pool.rq_error += 1
        policy = route.retry if route is not None else None
        if policy and (status >= 400 or policy.codes or "grpc-status" in response.headers):
            upstream = self.upstream
            if self._retries(response=response):
                if upstream is not None:
                    upstream.discard()
                    self._leave_for_retry()
                return
        if self._retrying:
            state.stats.upstream_rq_retry_success += 1
            self._retried()
        self.answering = True
        self.upstream_time = self.plane.reactor.now() - self.sent_at
        self.download_size = len(piece)
        if self.request.is_grpc:
            self.grpc_status = grpc.status_in(response.headers)
            if self.response_messages is not None:
                self.response_messages.take(piece)
        server = self.server
        server.answer(self, response, piece, ended)
        if ended:
            self._complete()
        elif server.pending > HIGH and self.upstream is not None:
            self.upstream.pause()

    def _judge(self, pool: Pool, response: Response) -> None:
        """Have outlier detection hear of a response; of gRPC's, by a status that stands in its head."""
        status, named = response.status, response.headers
        code = named.get("grpc-status", "")
        if code.isdigit() and self.request.headers.get("content-type", "").startswith("application/grpc"):
            status = outlier.status_of_grpc(int(code))
        self.state.answered(pool.endpoint.key, status)

    def answer_more(self, piece: bytes, ended: bool, trailers: Fields | None = None) -> None:
        """Take more of the response's body."""
        self.download_size += len(piece)
        if self.response_messages is not None:
            self.response_messages.take(piece)
        if trailers and self.request.is_grpc:
            self.grpc_status = grpc.status_in(dict(trailers))
        server = self.server
        server.answer_more(piece, ended, trailers)
        if ended:
            self._complete()
        elif server.pending > HIGH and self.upstream is not None:
            self.upstream.pause()

    def download_drained(self) -> None:
        """The client takes more of the answer."""
        if self.upstream is not None:
            self.upstream.resume()

    def reply(self, status: int, body: bytes, flag: str, details: str, fields: Fields | None = None) -> None:
        """Answer in the upstream's place."""
        self.status, self.details = status, details
        if flag:
            self.add_flag(flag)
        if self._is_new:
            self.close = True  # Envoy: answered before the body was looked at
        self.answering = True
        fields = fields or []
        if self.request.is_grpc:
            status, body, fields = self._as_grpc(status, body, fields)
        fields = self.side.reply_fields(self, fields)
        if self.response_fields:
            fields = [*local.described(body, fields), *self.response_fields]
        self.download_size = 0 if self.request.method == "HEAD" else len(body)
        self.server.reply(self, status, body, fields)
        self._complete()

    def _as_grpc(self, status: int, body: bytes, fields: Fields) -> tuple[int, bytes, Fields]:
        """Return a reply as gRPC's clients understand it: HTTP's status is 200, the rest stands in the head.

        Envoy: ``sendLocalReply``.
        """
        self.status = 200
        given = [value for name, value in fields if name == "grpc-status"]
        code = self.grpc_status = int(given[0]) if given else grpc.status_of_http(status)
        kept = [field for field in fields if field[0] not in ("grpc-status", "content-type")]
        made: Fields = [("content-type", "application/grpc"), ("grpc-status", str(code))]
        if body and self.request.method != "HEAD":
            made.append(("grpc-message", grpc.message_text(body)))
        return 200, b"", made + kept

    def _begin_grpc(self, piece: bytes) -> None:
        if self.request.length == CHUNKED:  # over HTTP/1.1, where nobody streams
            return
        self.request_messages, self.response_messages = Messages(), Messages()
        self.request_messages.take(piece)
        self._report_timer = self.plane.reactor.deadline(REPORT_EVERY, self._report)

    def _report(self) -> None:
        """Tell of a stream that lasts, as Istio does."""
        self._report_timer = self.plane.reactor.deadline(REPORT_EVERY, self._report)
        record = self.side.record(self)
        if record is not None and self._count_messages(record):
            self.plane.sink.messages(record)

    def _count_messages(self, record: Record) -> bool:
        """Fill in how many messages there were since the last time; tell whether any."""
        sent, received = self.request_messages, self.response_messages
        if sent is None or received is None:
            return False
        before = self.told_messages
        self.told_messages = sent.count, received.count
        record.request_messages, record.response_messages = sent.count - before[0], received.count - before[1]
        return self.told_messages != before

    def switch(self, head: bytes, rest: bytes) -> None:
        """The upstream agreed to speak another protocol: only carry bytes from now on."""
        upstream = self.upstream
        assert upstream is not None
        self.status, self.upstream_local = 101, upstream.local
        self.answering = True
        self.upstream_time = self.plane.reactor.now() - self.sent_at
        self._cancel_timers()
        client, ahead = self.server.surrender()
        self.side.tunnel(self, client, ahead, upstream, head + rest)

    def switched_back(self, received: int, sent: int) -> None:
        """What `switch` began has ended."""
        self.upload_size, self.download_size = received, sent
        self._leave()
        self._end()

    # -- the end --

    def cancel(self, flag: str = "DC", details: str = "downstream_remote_disconnect") -> None:
        """The client is gone, or wants the answer no more."""
        if self._over:
            return
        upstream, stats = self.upstream, self.stats
        if stats is not None:
            if self._active:
                stats.upstream_rq_tx_reset += 1
            elif self._trying:
                stats.upstream_rq_cancelled += 1
        self.add_flag(flag)
        self.details = details
        if not self.answering:
            self.status = 0
        self._leave()
        if upstream is not None:
            self.upstream_local = upstream.local
            upstream.discard()
        self._end()

    @property
    def is_over(self) -> bool:
        """It has been answered, or its client has gone."""
        return self._over

    def add_flag(self, flag: str) -> None:
        self.flags = local.with_flag(self.flags, flag) if self.flags else flag

    def _complete(self) -> None:
        reusable = not self.close and self.is_uploaded
        self._end()
        self.server.finished(reusable=reusable)

    def _end(self) -> None:
        self._over = True
        if self._timer is not None or self._try_timer is not None:
            self._cancel_timers()
        if self._retrying:
            self._retried()
        stats, status = self.stats, self.status
        if stats is not None and status:
            responses = stats.responses
            responses[status] = responses.get(status, 0) + 1
        http = self.side.http
        http.rq_active -= 1
        if not self.is_copy:
            responses = http.responses
            responses[status] = responses.get(status, 0) + 1
        if self.request.is_grpc and self.grpc_status is None and status:
            self.grpc_status = grpc.status_of_http(status)
        record = self.side.record(self)
        if record is not None:
            if self._report_timer is not None:
                self._report_timer.cancel()
                self._count_messages(record)
            self.plane.sink.request(record)

    # -- time --

    def _arm(self) -> None:
        """Envoy: time-outs begin when the whole request has been sent."""
        if not self.is_uploaded or self._over:
            return
        deadline = self.plane.reactor.deadline
        if self.timeout and self._timer is None:
            self._timer = deadline(self.timeout, self._timed_out)
        policy = self.route.retry if self.route else None
        if policy is not None and policy.per_try_timeout and self._try_timer is None:
            self._try_timer = deadline(policy.per_try_timeout, self._try_timed_out)

    def _delayed(self) -> None:
        self._timer = None
        self.cluster = self.side.present(self.cluster)  # Envoy's router asks for it only now
        self.side.delayed(self)

    def _timed_out(self) -> None:
        self._timer = None
        self._give_up("response_timeout")

    def _try_timed_out(self) -> None:
        self._try_timer = None
        upstream = self.upstream
        if upstream is None or self.answering:
            return
        self._leave()
        upstream.discard()
        self.state.stats.upstream_rq_per_try_timeout += 1
        self._judge_failure(outlier.TIMEOUT)
        if not self._retries(reset="local-reset"):
            self.reply(504, local.UPSTREAM_TIMEOUT, "UT", "upstream_per_try_timeout")

    def _give_up(self, details: str) -> None:
        upstream = self.upstream
        self._leave()
        if self.stats is not None:
            self.stats.upstream_rq_timeout += 1
            if upstream is not None and not self.answering:
                self._judge_failure(outlier.TIMEOUT)
        if upstream is not None:
            self.upstream_local = upstream.local
            upstream.discard()
        if self.answering:
            self.add_flag("UT")
            self.details = details
            self._end()
            self.server.cut()
        else:
            self.reply(504, local.UPSTREAM_TIMEOUT, "UT", details)

    def _leave_for_retry(self) -> None:
        timer, self._try_timer = self._try_timer, None  # the back-off, which has begun
        self._leave()
        self._try_timer = timer

    def _cancel_try_timer(self) -> None:
        if self._try_timer is not None:
            self._try_timer.cancel()
            self._try_timer = None

    def _cancel_timers(self) -> None:
        self._cancel_try_timer()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
