"""``pilot-agent`` of the istio-proxy container: a program of its own, which needs nothing but Python.

It is written into the container's files; see `devmesh.runtime.proxy_container`.
"""

from __future__ import annotations

import http.client
import sys
import time

_USAGE = """\
usage: pilot-agent request METHOD PATH [--debug-port 15000]   ask the proxy's admin interface
       pilot-agent wait [--timeoutSeconds 60]                 wait until the proxy is ready
       pilot-agent version
"""


def ask(method: str, path: str, port: int) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, "/" + path.lstrip("/"), headers={"connection": "close"})
    response = connection.getresponse()
    return response.status, response.read()


def option(words: list[str], name: str, default: str) -> str:
    """Take ``--name value`` or ``--name=value`` out of `words`."""
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            value = words[index + 1]
            del words[index : index + 2]
            return value
        if word.startswith(name + "="):
            del words[index]
            return word.partition("=")[2]
    return default


def request(words: list[str]) -> int:
    port = int(option(words, "--debug-port", "15000"))
    if len(words) != 2:
        sys.stderr.write(_USAGE)
        return 255
    try:
        status, body = ask(words[0].upper(), words[1], port)
    except OSError as error:
        sys.stderr.write(f"Error: failed to execute command on Envoy: {error}\n")
        return 255
    if status >= 300:
        said = body.decode(errors="replace").rstrip("\n")
        why = f"received unsuccessful status code {status}: {said}"
        sys.stderr.write(f"Error: failed to execute command on Envoy: {why}\n")
        return 255
    sys.stdout.buffer.write(body if body.endswith(b"\n") else body + b"\n")
    return 0


def wait(words: list[str]) -> int:
    until = time.monotonic() + float(option(words, "--timeoutSeconds", "60"))
    while True:
        try:
            if ask("GET", "healthz/ready", 15021)[0] == 200:
                return 0
        except OSError:
            pass
        if time.monotonic() > until:
            sys.stderr.write("Error: timeout waiting for the proxy to be ready\n")
            return 255
        time.sleep(0.1)


def main(words: list[str]) -> int:
    if words[:1] == ["request"]:
        return request(words[1:])
    if words[:1] == ["wait"]:
        return wait(words[1:])
    if words[:1] == ["version"]:
        sys.stdout.write("devmesh: the proxy is devmesh itself; `devmesh version` tells its version\n")
        return 0
    sys.stderr.write(_USAGE)
    return 255


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
