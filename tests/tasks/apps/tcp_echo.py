"""Answers each line with a word before it: tcp_echo.py 9000,9001,9002 hello."""

from __future__ import annotations

import socketserver
import sys
import threading


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(f"{sys.argv[2]} ".encode() + line)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    servers = [Server(("0.0.0.0", int(port)), Handler) for port in sys.argv[1].split(",")]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
