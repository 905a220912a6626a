"""TCP throughput: a sink that counts, and a source that sends through whatever listens at a port."""

from __future__ import annotations

import socket
import sys
import threading
import time

_PIECE = 1 << 20


def sink(port: int) -> None:
    """Swallow what arrives, and answer the end of each connection with one byte."""
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_swallow, args=(connection,), daemon=True).start()


def _swallow(connection: socket.socket) -> None:
    buffer = bytearray(_PIECE)
    with connection:
        while connection.recv_into(buffer):
            pass
        connection.sendall(b"!")


def source(port: int, seconds: float) -> float:
    """Send for `seconds` by one connection; return MB/s, to the last byte's arrival."""
    piece = bytes(_PIECE)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began, sent = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            connection.sendall(piece)
            sent += _PIECE
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1) != b"!":
            raise RuntimeError(f"port {port}: the connection ended without the sink's answer")
        return sent / (time.monotonic() - began) / 1e6


if __name__ == "__main__":
    if sys.argv[1] == "sink":
        sink(int(sys.argv[2]))
    else:
        print(source(int(sys.argv[2]), float(sys.argv[3])))
