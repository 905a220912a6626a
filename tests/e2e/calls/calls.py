"""A server of gRPC, and a client that can be told what to do: grpcio's own, with bytes for messages.

calls.py NAME=PORT...      grpc, and those of server.py, which lies beside it
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import server
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

POD = os.environ.get("POD", "")
SERVICE = "test.Echo"
SERVERS: list = []  # kept alive
STATE = {"cancelled": 0, "failures": 0, "calls": 0}


# -- the server: what each method does --


def unary(request: bytes, context: grpc.ServicerContext) -> bytes:
    """Tell what came; with metadata ``fail`` end so with a code, ``times`` times in all."""
    STATE["calls"] += 1
    got = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    if "fail" in got and STATE["failures"] < int(got.get("times", "1000")):
        STATE["failures"] += 1
        context.abort(grpc.StatusCode[got["fail"]], "as asked")
    context.send_initial_metadata([("x-head", "1"), ("x-raw-bin", b"\0\xff")])
    context.set_trailing_metadata([("x-tail", "2")])
    remaining = context.time_remaining()
    raw = [value.hex() for key, value in context.invocation_metadata() if key == "x-raw-bin"]
    told = {"pod": POD, "got": got, "raw": "".join(raw), "size": len(request)}
    return json.dumps(told | {"remaining": remaining if remaining and remaining < 1e6 else None}).encode()


def stream_out(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
    number, _, size = request.partition(b" ")
    for index in range(int(number)):
        yield index.to_bytes(4) + bytes(int(size or b"0"))


def stream_in(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    count = size = 0
    for message in requests:
        count, size = count + 1, size + len(message)
    return f"{count} {size}".encode()


def chat(requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from requests


def slow(request: bytes, context: grpc.ServicerContext) -> bytes:
    gone = threading.Event()
    context.add_callback(gone.set)
    if gone.wait(20):
        STATE["cancelled"] += 1
    return b"late"


def calls(clear: bool = True) -> dict:
    found = dict(STATE)
    if clear:
        STATE.update(dict.fromkeys(STATE, 0))
    return found


def serve_grpc(port: int) -> None:
    made = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Out": grpc.unary_stream_rpc_method_handler(stream_out),
        "In": grpc.stream_unary_rpc_method_handler(stream_in),
        "Chat": grpc.stream_stream_rpc_method_handler(chat),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
    }
    made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    healthy = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(healthy, made)
    healthy.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
    names = [health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, made)
    made.add_insecure_port(f"0.0.0.0:{port}")
    made.start()
    SERVERS.append(made)


# -- the client --

CHANNELS: dict[str, grpc.Channel] = {}


def channel(target: str) -> grpc.Channel:
    if target not in CHANNELS:
        CHANNELS[target] = grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)])
    return CHANNELS[target]


def call(
    target: str, body: str = "hello", metadata: dict | None = None, timeout: float | None = 10,
    method: str = "Unary", size: int = 0,
) -> dict:  # fmt: skip
    """One unary call: its status, what was told, metadata of both ends."""
    made = channel(target).unary_unary(f"/{SERVICE}/{method}")
    sent = [
        (name, bytes.fromhex(value) if name.endswith("-bin") else value)
        for name, value in (metadata or {}).items()
    ]
    began = time.monotonic()
    try:
        answer, done = made.with_call(bytes(size) or body.encode(), timeout=timeout, metadata=sent)
    except grpc.RpcError as error:
        found = {"code": error.code().name, "details": error.details()}
        return found | {"seconds": time.monotonic() - began, "head": _plain(error.initial_metadata())}
    return {
        "code": "OK", "answer": json.loads(answer), "seconds": time.monotonic() - began,
        "head": _plain(done.initial_metadata()), "tail": _plain(done.trailing_metadata()),
    }  # fmt: skip


def many_calls(target: str, times: int, threads: int = 4) -> dict:
    """Count the pods that answer, and the codes."""
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda _: call(target), range(times)))
    found: dict = {}
    for answer in answers:
        key = answer["answer"]["pod"] if answer["code"] == "OK" else answer["code"]
        found[key] = found.get(key, 0) + 1
    return found


def _plain(metadata: object) -> dict:
    return {key: value if isinstance(value, str) else value.hex() for key, value in metadata or ()}


def out(target: str, number: int, size: int = 0) -> dict:
    """Read a stream; tell how many messages came, and whether in order."""
    began, count, ordered = time.monotonic(), 0, True
    for message in channel(target).unary_stream(f"/{SERVICE}/Out")(f"{number} {size}".encode()):
        ordered = ordered and message[:4] == count.to_bytes(4)
        count += 1
    return {"count": count, "ordered": ordered, "seconds": time.monotonic() - began}


def into(target: str, number: int, size: int) -> str:
    messages = (bytes(size) for _ in range(number))
    return channel(target).stream_unary(f"/{SERVICE}/In")(messages).decode()


def talk(target: str, number: int) -> dict:
    """Send each message when the answer to the last has come."""
    answered = threading.Semaphore(1)

    def sent() -> Iterator[bytes]:
        for index in range(number):
            answered.acquire()
            yield index.to_bytes(4)

    count = 0
    for message in channel(target).stream_stream(f"/{SERVICE}/Chat")(sent()):
        assert message == count.to_bytes(4)
        count += 1
        answered.release()
    return {"count": count}


def cancel(target: str, after: float) -> str:
    """Call the slow method, then think better of it."""
    pending = channel(target).unary_unary(f"/{SERVICE}/Slow").future(b"")
    time.sleep(after)
    pending.cancel()
    return pending.code().name


def is_healthy(target: str, service: str) -> str:
    stub = health_pb2_grpc.HealthStub(channel(target))
    found = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(found.status)


def reflected(target: str) -> list:
    database = ProtoReflectionDescriptorDatabase(channel(target))
    described = database.FindFileContainingSymbol("grpc.health.v1.Health")
    return [sorted(database.get_services()), described.name]


def run(command: list, timeout: float = 30) -> dict:
    """Run a program in the pod."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


if __name__ == "__main__":
    for function in (call, many_calls, out, into, talk, cancel, is_healthy, reflected, run, calls):
        setattr(server, function.__name__, function)  # where the agent looks
    for word in sys.argv[1:]:
        kind, _, number = word.partition("=")
        if kind == "grpc":
            serve_grpc(int(number))
        else:
            server.serve(kind, int(number), "0.0.0.0")
    server._agent(f"{os.environ['AGENT']}/{POD}")
