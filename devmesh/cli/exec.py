"""devmesh exec"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import threading
from types import FrameType
from urllib.parse import quote, urlencode, urlsplit

import click

from devmesh.cli.client import Api
from devmesh.cli.failure import CliFailure
from devmesh.cli.options import api_of, mesh_option, namespace_option
from devmesh.cli.resources import Catalogue, pods_of

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("target")
@click.argument("arguments", nargs=-1, required=True)
@mesh_option
@namespace_option
@click.option("-c", "--container", help="Which container (default: the first).")
@click.option("-i", "--stdin", "with_stdin", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", is_flag=True, help="With a terminal.")
def command(
    target: str,
    arguments: tuple[str, ...],
    mesh: str | None,
    namespace: str,
    container: str | None,
    with_stdin: bool,
    tty: bool,
) -> None:
    """Run a command in a pod: exec [OPTIONS] POD -- COMMAND. The exit status is the command's."""
    words = arguments[1:] if arguments[0] == "--" else arguments
    if not words:
        raise CliFailure("say which command: exec POD -- COMMAND", 2)
    api = api_of(mesh)
    pod = pods_of(api, Catalogue(api), target, namespace)[0]
    names = [c["name"] for c in pod["spec"]["containers"] if c["name"] != "istio-proxy"]
    tty = tty and sys.stdin.isatty()
    query = urlencode(
        [("command", word) for word in words]
        + [("container", container or (names or ["istio-proxy"])[0]), ("stdout", "true")]
        + ([("stdin", "true")] if with_stdin else [])
        + ([("tty", "true")] if tty else [("stderr", "true")])
    )
    path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod['metadata']['name'])}/exec?{query}"
    status = _Session(api, path, with_stdin, tty).run()
    if status:
        sys.exit(status)


class _Session:
    """A WebSocket of channels: the first byte of a message says which."""

    def __init__(self, api: Api, path: str, with_stdin: bool, tty: bool) -> None:
        from wsproto import ConnectionType, WSConnection
        from wsproto.events import Request

        self._with_stdin, self._tty = with_stdin, tty
        parts = urlsplit(api.url)
        assert parts.hostname
        self._socket = socket.create_connection((parts.hostname, parts.port or 80))
        self._connection = WSConnection(ConnectionType.CLIENT)
        self._lock = threading.Lock()
        headers = [(b"authorization", f"Bearer {api.token}".encode())]
        self._socket.sendall(
            self._connection.send(Request(parts.netloc, path, subprotocols=[PROTOCOL], extra_headers=headers))
        )
        self._status = 1

    def run(self) -> int:
        """Relay until the command ends; return its exit status."""
        from wsproto.events import (
            AcceptConnection,
            BytesMessage,
            CloseConnection,
            RejectConnection,
            RejectData,
        )

        refused = b""
        buffer = b""
        while data := self._socket.recv(65536):
            self._connection.receive_data(data)
            for event in self._connection.events():
                if isinstance(event, AcceptConnection):
                    self._begin()
                elif isinstance(event, RejectConnection) and not event.has_body:
                    raise CliFailure(f"the mesh refused: HTTP {event.status_code}")
                elif isinstance(event, RejectData):
                    refused += event.data
                    if event.body_finished:
                        raise CliFailure(_reason(refused))
                elif isinstance(event, BytesMessage):
                    buffer += event.data
                    if event.message_finished:
                        self._message(buffer)
                        buffer = b""
                elif isinstance(event, CloseConnection):
                    self._end()
                    return self._status
        self._end()
        return self._status

    def _begin(self) -> None:
        if self._tty:
            import termios
            import tty

            self._saved = termios.tcgetattr(sys.stdin)
            tty.setraw(sys.stdin)
            signal.signal(signal.SIGWINCH, self._resize)
            self._resize(0, None)
        if self._with_stdin:
            threading.Thread(target=self._read_stdin, daemon=True).start()

    def _end(self) -> None:
        if self._tty:
            import termios

            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)

    def _resize(self, _signal: int, _frame: FrameType | None) -> None:
        size = shutil.get_terminal_size()
        self._send(RESIZE, json.dumps({"Width": size.columns, "Height": size.lines}).encode())

    def _read_stdin(self) -> None:
        while piece := os.read(0, 32768):
            self._send(STDIN, piece)
        self._send(CLOSE, bytes([STDIN]))

    def _send(self, channel: int, content: bytes) -> None:
        from wsproto.events import BytesMessage

        with self._lock:
            self._socket.sendall(self._connection.send(BytesMessage(bytes([channel]) + content)))

    def _message(self, message: bytes) -> None:
        channel, content = message[0], message[1:]
        if channel == STDOUT:
            sys.stdout.buffer.write(content)
            sys.stdout.flush()
        elif channel == STDERR:
            sys.stderr.buffer.write(content)
            sys.stderr.flush()
        elif channel == ERROR:
            self._status = _exit_status(content)


def _exit_status(content: bytes) -> int:
    status = json.loads(content)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    click.echo(f"devmesh: {status.get('message')}", err=True)
    return 1


def _reason(content: bytes) -> str:
    try:
        return str(json.loads(content)["message"])
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")
