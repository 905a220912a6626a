"""The access log's format: Envoy's default text and JSON, and formats of one's own.

Envoy: "Access logging"; Istio: MeshConfig accessLogFile, accessLogFormat, accessLogEncoding. A format is
compiled once; a line is written only when somebody reads it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from devmesh.snapshot.snapshot import MeshSettings
from devmesh.telemetry.record import Record

DEFAULT_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% '
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% "
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
DEFAULT_JSON = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}

Value = str | int | None  # None is absent: "-" in text, null in JSON
Operator = Callable[[Record], Value]


@dataclass(frozen=True, slots=True)
class Format:
    """A compiled format.

    Attributes:
        render: Writes the line of a record, with its line feed.
        unknown: Operators that devmesh has no value for; they print "-".
    """

    render: Callable[[Record], str]
    unknown: tuple[str, ...] = ()


def compile_settings(mesh: MeshSettings) -> Format:
    """Compile the format that the mesh asks for.

    With JSON encoding a format is a JSON object of operators (Istio: accessLogFormat); one that is not
    falls back to the default object.
    """
    if not mesh.access_log_json:
        return compile_text(mesh.access_log_format or DEFAULT_FORMAT)
    template: dict[str, str] = DEFAULT_JSON
    if mesh.access_log_format:
        try:
            template = msgspec.json.decode(mesh.access_log_format, type=dict[str, str])
        except msgspec.MsgspecError:
            template = DEFAULT_JSON
    return compile_json(template)


def compile_text(template: str) -> Format:
    """Compile a text format; Envoy writes no line feed of its own, so one is added where it is missing."""
    pieces, unknown = _parse(template if template.endswith("\n") else template + "\n")

    def render(record: Record) -> str:
        return "".join(piece if isinstance(piece, str) else _text(piece(record)) for piece in pieces)

    return Format(render, unknown)


def compile_json(template: dict[str, str]) -> Format:
    """Compile a JSON format. A field that is one operator keeps its type; absent is null."""
    fields: dict[str, Operator] = {}
    unknown: list[str] = []
    for name, value in template.items():
        pieces, missing = _parse(value)
        unknown += missing
        fields[name] = pieces[0] if len(pieces) == 1 and callable(pieces[0]) else _joined(pieces)

    def render(record: Record) -> str:
        values = {name: field(record) for name, field in fields.items()}
        values = {name: None if value == "" else value for name, value in values.items()}
        return msgspec.json.encode(values).decode() + "\n"

    return Format(render, tuple(unknown))


def _joined(pieces: list[str | Operator]) -> Operator:
    return lambda record: "".join(p if isinstance(p, str) else _text(p(record)) for p in pieces)


def _text(value: Value) -> str:
    return "-" if value is None or value == "" else str(value)


# %NAME%, %NAME(argument)%, %NAME(argument):length%, and %% for a percent sign
_OPERATOR = re.compile(r"%(?:%|([A-Z0-9_]+)(?:\(([^()]*)\))?(?::(\d+))?%)")


def _parse(template: str) -> tuple[list[str | Operator], tuple[str, ...]]:
    pieces: list[str | Operator] = []
    unknown: list[str] = []
    position = 0
    for found in _OPERATOR.finditer(template):
        if literal := template[position : found.start()]:
            pieces.append(literal)
        position = found.end()
        name, argument, length = found.groups()
        if name is None:
            pieces.append("%")
            continue
        operator = _operator(name, argument or "")
        if operator is None:
            unknown.append(found.group())
            operator = _absent
        pieces.append(_shortened(operator, int(length)) if length else operator)
    if literal := template[position:]:
        pieces.append(literal)
    return pieces, tuple(unknown)


def _operator(name: str, argument: str) -> Operator | None:
    if name == "START_TIME":
        return (lambda r: start_time(r.started)) if not argument else _strftime(argument)
    if name in ("REQ", "RESP", "REQ_WITHOUT_QUERY"):
        return _header(name, argument)
    return _PLAIN.get(name)


def _header(name: str, argument: str) -> Operator | None:
    """Return the value of a header; of ``A?B`` the first that is present. None: a header not recorded."""
    table = _RESPONSE if name == "RESP" else _REQUEST
    found = [table.get(header.strip().lower()) for header in argument.split("?")]
    known = [operator for operator in found if operator is not None]
    if not known:
        return None

    def first(record: Record) -> Value:
        for operator in known:
            if value := operator(record):
                return str(value).partition("?")[0] if name == "REQ_WITHOUT_QUERY" else value
        return None

    return first


def _absent(record: Record) -> Value:
    return None


def _shortened(operator: Operator, length: int) -> Operator:
    def short(record: Record) -> Value:
        value = operator(record)
        return value if value is None else str(value)[:length]

    return short


def start_time(epoch: float) -> str:
    """Return ``2020-11-25T21:26:18.409Z``: UTC, milliseconds cut off (Envoy doesn't round)."""
    seconds, milliseconds = divmod(int(epoch * 1000), 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _strftime(pattern: str) -> Operator:
    parts = re.split(r"(%\d?f|%s)", pattern)

    def render(record: Record) -> Value:
        seconds, nanoseconds = divmod(round(record.started * 1e9), 10**9)
        moment = datetime.fromtimestamp(seconds, UTC)
        text = ""
        for part in parts:
            if part == "%s":
                text += str(seconds)
            elif part.startswith("%") and part.endswith("f"):
                text += f"{nanoseconds:09d}"[: int(part[1:-1] or 9)]
            elif part:
                text += moment.strftime(part)
        return text

    return render


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds * 1000)


def _without_port(address: str) -> str:
    host, colon, port = address.rpartition(":")
    return host.strip("[]") if colon and port.isdigit() else address


def _is_http(record: Record) -> bool:
    return record.protocol != "tcp"


def _source_uri(record: Record) -> str:
    return record.source_principal if record.reporter == "destination" else ""


_REQUEST: dict[str, Operator] = {
    ":method": lambda r: r.method,
    ":path": lambda r: r.path,
    ":authority": lambda r: r.authority,
    "host": lambda r: r.authority,
    "x-envoy-original-path": lambda r: r.original_path,
    "x-forwarded-for": lambda r: r.forwarded_for,
    "user-agent": lambda r: r.user_agent,
    "x-request-id": lambda r: r.request_id,
}
_RESPONSE: dict[str, Operator] = {
    "x-envoy-upstream-service-time": lambda r: (
        None if r.upstream_time is None else str(_milliseconds(r.upstream_time))
    ),
}
_PLAIN: dict[str, Operator] = {
    "PROTOCOL": lambda r: r.http_version if _is_http(r) else None,
    "RESPONSE_CODE": lambda r: r.status,
    "RESPONSE_FLAGS": lambda r: r.flags or "-",
    "RESPONSE_CODE_DETAILS": lambda r: r.details.replace(" ", "_"),
    "CONNECTION_TERMINATION_DETAILS": lambda r: r.termination.replace(" ", "_"),
    "UPSTREAM_TRANSPORT_FAILURE_REASON": lambda r: r.transport_failure.replace(" ", "_"),
    "BYTES_RECEIVED": lambda r: r.bytes_received,
    "BYTES_SENT": lambda r: r.bytes_sent,
    "DURATION": lambda r: _milliseconds(r.duration),
    "UPSTREAM_HOST": lambda r: r.upstream_host,
    "UPSTREAM_REMOTE_ADDRESS": lambda r: r.upstream_host,
    "UPSTREAM_CLUSTER": lambda r: r.upstream_cluster,
    "UPSTREAM_CLUSTER_RAW": lambda r: r.upstream_cluster,
    "UPSTREAM_LOCAL_ADDRESS": lambda r: r.upstream_local,
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": lambda r: _without_port(r.upstream_local),
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": lambda r: r.attempts,
    "DOWNSTREAM_LOCAL_ADDRESS": lambda r: r.downstream_local,
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": lambda r: _without_port(r.downstream_local),
    "DOWNSTREAM_REMOTE_ADDRESS": lambda r: r.downstream_remote,
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": lambda r: _without_port(r.downstream_remote),
    "DOWNSTREAM_PEER_URI_SAN": _source_uri,
    "REQUESTED_SERVER_NAME": lambda r: r.server_name,
    "ROUTE_NAME": lambda r: r.route,
    "GRPC_STATUS": lambda r: r.grpc_status,
    "GRPC_STATUS_NUMBER": lambda r: r.grpc_status,
    "TRACE_ID": lambda r: r.trace_id,
}
