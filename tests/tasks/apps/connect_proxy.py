"""A proxy for CONNECT: connect_proxy.py ADDRESS PORT; it leads everything to ADDRESS."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading


def copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Handler(socketserver.StreamRequestHandler):
    rbufsize = 0  # what follows the head is not this reader's

    def handle(self) -> None:
        request = self.rfile.readline().decode()
        while self.rfile.readline().strip():
            pass
        port = int(request.split()[1].rpartition(":")[2])
        with socket.create_connection((sys.argv[1], port)) as upstream:
            self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(upstream, self.connection))
            back.start()
            copy(self.connection, upstream)
            back.join()


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
