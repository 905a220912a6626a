"""The storm's application: a server that tells what reached it, and a load client.

    app.py serve PORT       an HTTP server that ends gracefully, after the requests that are under way
    app.py load FOLDER      ask what FOLDER/plan.json says until FOLDER/stop is there; write NAME.out

The server answers 503 to the first try of a request with ``x-flaky``, and waits ``x-wait`` seconds.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

NAME, VERSION = os.environ.get("POD", "outside"), os.environ.get("VERSION", "")
TOLD = ("host", "x-stamp", "x-dest", "x-junk", "x-envoy-attempt-count")
STATE = {"closing": False, "active": 0, "last": 0.0}


class Reader:
    """Reads heads and bodies."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock, self.data = sock, b""

    def head(self) -> tuple[str, dict[str, str]]:
        while b"\r\n\r\n" not in self.data:
            self._fill()
        found, _, self.data = self.data.partition(b"\r\n\r\n")
        first, *lines = found.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        return first, {name.lower(): value.strip() for name, _, value in pairs}

    def body(self, named: dict[str, str]) -> bytes:
        if named.get("transfer-encoding") == "chunked":
            return b"".join(self._chunks())
        return self._take(int(named.get("content-length", "0")))

    def _chunks(self):
        while True:
            while b"\r\n" not in self.data:
                self._fill()
            line, _, self.data = self.data.partition(b"\r\n")
            piece = self._take(int(line, 16) + 2)[:-2]
            if not piece:
                return
            yield piece

    def _take(self, size: int) -> bytes:
        while len(self.data) < size:
            self._fill()
        piece, self.data = self.data[:size], self.data[size:]
        return piece

    def _fill(self) -> None:
        got = self.sock.recv(1 << 16)
        if not got:
            raise EOFError("closed")
        self.data += got


# -- the server --


def serve(port: int) -> None:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    listener = socket.create_server(("", port), family=family, backlog=256, dualstack_ipv6=both)
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    while not over.wait(0.5):
        pass
    STATE["closing"] = True
    STATE["last"] = time.monotonic()
    while STATE["active"] or time.monotonic() - STATE["last"] < 0.3:
        time.sleep(0.02)
    os._exit(0)


def _accept(listener: socket.socket) -> None:
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_converse, args=(sock,), daemon=True).start()


def _converse(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    reader = Reader(sock)
    try:
        while not _exchange(sock, reader):
            pass
    except (EOFError, OSError):
        pass
    finally:
        sock.close()


LOCK = threading.Lock()


def _exchange(sock: socket.socket, reader: Reader) -> bool:
    """Answer one request; tell whether the connection ends."""
    first, named = reader.head()
    with LOCK:
        STATE["active"] += 1
    try:
        body = reader.body(named)
        method, path, _ = first.split(" ")
        time.sleep(float(named.get("x-wait", "0")))
        flaky = "x-flaky" in named and named.get("x-envoy-attempt-count", "1") == "1"
        told = {name: named[name] for name in TOLD if name in named}
        seen = {"pod": NAME, "app": VERSION, "method": method, "path": path, "told": told,
                "size": len(body)}  # fmt: skip
        answer = json.dumps(seen).encode()
        status = b"503 Flaky" if flaky else b"200 OK"
        closing = bool(STATE["closing"])
        more = b"connection: close\r\n" if closing else b""
        sock.sendall(b"HTTP/1.1 %b\r\nx-junk: 1\r\ncontent-length: %d\r\n%b\r\n%b"
                     % (status, len(answer), more, answer))  # fmt: skip
        return closing
    finally:
        with LOCK:
            STATE["active"] -= 1
            STATE["last"] = time.monotonic()


# -- the load --


class Client:
    """Connections that are kept, one for each place, and what came of each request."""

    def __init__(self, plan: dict, first: int, step: int) -> None:
        self.plan, self.number, self.step = plan, first, step
        self.kept: dict[tuple[str, int], Reader] = {}
        self.lines: list[list] = []

    def ask(self) -> None:
        """Ask the next in turn and note: its number, when, how long, status, fields, body or error."""
        number = self.number % len(self.plan["requests"])
        self.number += self.step
        request = self.plan["requests"][number]
        began = time.monotonic()
        try:
            status, named, body = self._exchange(request)
        except (OSError, EOFError, ValueError) as error:
            self.kept.pop((request["connect"], request["port"]), None)
            status, named, body = 0, {}, f"{type(error).__name__}: {error}"
        self.lines.append([number, began, time.monotonic(), status, named, body])

    def _exchange(self, request: dict) -> tuple[int, dict[str, str], str]:
        place = (request["connect"], request["port"])
        reader = self.kept.get(place)
        if reader is None:
            sock = socket.create_connection(place, timeout=20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = self.kept[place] = Reader(sock)
        reader.sock.sendall(request["bytes"])
        first, named = reader.head()
        body = reader.body(named).decode("latin-1")
        if named.get("connection") == "close":
            self.kept.pop(place).sock.close()
        told = {name: named[name] for name in ("x-stamp", "x-dest", "x-via", "x-junk", "location")
                if name in named}  # fmt: skip
        return int(first.split(" ")[1]), told, body


def load(folder: Path) -> None:
    file = folder / "plan.json"
    while not file.exists():
        time.sleep(0.02)
    plan = json.loads(file.read_text())[os.environ.get("ROLE", "client")]
    for request in plan["requests"]:
        request["bytes"] = _bytes(request)
    clients = [Client(plan, n * 7, 1 + 2 * n) for n in range(plan["threads"])]
    began = time.monotonic()
    _run(clients, lambda client: _flat_out(client, began + plan["calibrate"]))
    capacity = sum(len(client.lines) for client in clients) / (time.monotonic() - began)
    pause = len(clients) / (capacity * plan["share"])
    _run(clients, lambda client: _paced(client, folder / "stop", pause))
    found = {"capacity": capacity, "lines": [line for client in clients for line in client.lines]}
    out = folder / f"{os.environ.get('ROLE', 'client')}.part"
    out.write_text(json.dumps(found))
    out.rename(out.with_suffix(".out"))


def _bytes(request: dict) -> bytes:
    fields = {"host": request["host"]} | request["headers"]
    if request["size"]:
        fields["content-length"] = str(request["size"])
    head = f"{request['method']} {request['path']} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    return head.encode() + b"x" * request["size"]


def _run(clients: list[Client], each) -> None:
    threads = [threading.Thread(target=each, args=(client,)) for client in clients]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]


def _flat_out(client: Client, until: float) -> None:
    while time.monotonic() < until:
        client.ask()


def _paced(client: Client, stop: Path, pause: float) -> None:
    due = time.monotonic() + pause * (client.step % 8) / 8
    while not stop.exists():
        now = time.monotonic()
        if now < due:
            time.sleep(due - now)
        due = max(due + pause, now - 1.0)  # after a stall, no more than a second is made up for
        client.ask()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        load(Path(sys.argv[2]))
        if os.environ.get("ROLE", "client") == "client":
            threading.Event().wait()
