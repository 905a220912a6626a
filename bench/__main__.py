"""``python -m bench``: all targets, in alternating rounds; one table, and bench/results/latest.{json,md}."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench import compiled, peers
from bench.targets import (
    BACKEND,
    BY_H2LOAD,
    GRPC,
    HTTP2,
    HTTP2_BACKEND,
    HTTP2_TWO,
    LOAD_CORE,
    ONE,
    PROXY_CORE,
    SINK,
    TARGETS,
    TCP,
    TWO,
    Running,
    Target,
    pinned,
    wait_for,
    which,
)

RESULTS = Path(__file__).parent / "results"
GOALS = {ONE: 1.3, TWO: 1.2, TCP: 1.0, HTTP2: 0.5, HTTP2_TWO: 0.5, GRPC: 0.5}  # times Envoy


@dataclass
class Sample:
    """One target in one round: requests/s (tcp: MB/s); times in µs; `cpu` in µs a request (tcp: a MB)."""

    rate: float
    p50: float = 0.0
    p99: float = 0.0
    cpu: float = 0.0
    errors: int = 0
    late: float | None = None


@dataclass
class Row:
    """What was found of one target with one number of connections."""

    target: Target
    connections: int
    samples: list[Sample] = field(default_factory=list)
    resident: float = 0.0

    def median(self, name: str) -> float:
        found = [value for sample in self.samples if (value := getattr(sample, name)) is not None]
        return statistics.median(found) if found else 0.0

    def ratio(self, other: Row | None, name: str = "rate") -> float | None:
        """Return the median of the rounds' own ratios to `other`: both had the same machine then."""
        if other is None:
            return None
        pairs = zip(self.samples, other.samples, strict=False)
        ratios = [
            getattr(mine, name) / getattr(theirs, name) for mine, theirs in pairs if getattr(theirs, name)
        ]
        return statistics.median(ratios) if ratios else None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of each sample")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--only", nargs="+", default=[], help="names of targets: devmesh envoy ...")
    parser.add_argument("--kind", nargs="+", default=[], help=f"of {list(GOALS)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    for program in ("wrk", "nginx", "taskset"):
        if which(program) is None:
            print(f"the bench needs {program}: apt-get install wrk nginx-light util-linux", file=sys.stderr)
            return 2
    wanted = [
        t
        for t in TARGETS
        if (not asked.only or t.name in asked.only) and (not asked.kind or t.kind in asked.kind)
    ]
    left_out = {f"{target.name}, {target.kind}": why for target in wanted if (why := target.missing())}
    notes: list[str] = []
    rows = measure([target for target in wanted if not target.missing()], asked, notes)
    text = table(rows, left_out, notes)
    print(text)
    asked.results.mkdir(parents=True, exist_ok=True)
    (asked.results / "latest.md").write_text(text + "\n")
    (asked.results / "latest.json").write_text(json.dumps(document(rows, left_out, asked), indent=1) + "\n")
    return 0


def measure(targets: list[Target], asked: argparse.Namespace, notes: list[str]) -> list[Row]:
    """Start everything and take the samples: each round in turn forwards and backwards. What has to be known
    of them is added to `notes`."""
    rows: list[Row] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="devmesh-bench-")))
        if any(target.name == "devmesh" for target in targets):
            notes.append(_prepared(folder))
        config = folder / "backend.conf"
        config.write_text(peers.backend(BACKEND, HTTP2_BACKEND, folder))
        _keep(stack, BACKEND, [which("nginx") or "nginx", "-c", str(config)], folder)
        _keep(stack, SINK, [sys.executable, "-m", "bench.bulk", "sink", str(SINK)], folder)
        running: dict[Target, Running] = {}
        for target in targets:
            running[target] = target.start(folder)
            stack.callback(running[target].stop)
            rows += [Row(target, n) for n in _connections(target, asked.connections)]
        for number in range(asked.rounds):
            for row in rows if number % 2 == 0 else reversed(rows):
                told = f"round {number + 1}/{asked.rounds}: {row.target.name}, {row.target.kind}"
                print(f"\r{told}, {row.connections}".ljust(70), end="", file=sys.stderr)
                row.samples.append(_sample(row, running[row.target], asked.seconds))
                row.resident = max(row.resident, running[row.target].resident())
        print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    return rows


def _connections(target: Target, asked: list[int]) -> list[int]:
    if target.kind in BY_H2LOAD:
        return [_CONNECTIONS]
    return [1] if target.kind == TCP else asked


def _prepared(folder: Path) -> str:
    """Build the wheel, test its data plane, and return what "devmesh" stands for in the table."""
    print("building the wheel", end="", file=sys.stderr)
    where = compiled.build(folder)
    if not compiled.is_compiled(where):
        return "devmesh is the wheel, which is pure Python here: there is no C compiler."
    print("\rtesting what it contains", end="", file=sys.stderr)
    failed = compiled.conforms(where)
    if failed:
        raise RuntimeError(f"the compiled data plane fails its tests:\n{failed}")
    return "devmesh is the wheel, its core compiled by mypyc; the data plane's tests have passed on it."


def _keep(stack: ExitStack, port: int, command: list[str], folder: Path) -> None:
    process = pinned(LOAD_CORE, command, folder)
    stack.callback(Running(port, process).stop)
    wait_for(port, process)


def _sample(row: Row, running: Running, seconds: float) -> Sample:
    before = running.cpu()
    if row.target.kind == TCP:
        command = [sys.executable, "-m", "bench.bulk", "source", str(running.port), str(seconds)]
        rate = float(_run(command))
        return Sample(rate, cpu=(running.cpu() - before) / (rate * seconds) * 1e6)
    if row.target.kind in BY_H2LOAD:
        return _by_h2load(row, running, seconds)
    told = ""
    for _ in range(3):  # wrk sometimes prints no percentiles
        before = running.cpu()
        told = _wrk(running.port, row.connections, int(seconds))
        spent = running.cpu() - before
        if _PERCENTILE.search(told):
            break
    else:
        why = f"no percentiles of {row.target.name}, {row.target.kind}"
        raise RuntimeError(f"wrk told {why}:\n{told}{running.said()}")
    done = int(_find(r"(\d+) requests in", told))
    errors = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", told))
    errors += int(_find(r"Non-2xx or 3xx responses: (\d+)", told) or 0)
    return Sample(
        float(_find(r"Requests/sec:\s+([\d.]+)", told)),
        _microseconds(_find(r"(?m)^\s+50%\s+(\S+)", told)),
        _microseconds(_find(r"(?m)^\s+99%\s+(\S+)", told)),
        spent / max(1, done) * 1e6,
        errors,
        running.lateness(),
    )


_CONNECTIONS, _STREAMS = 4, 10  # of h2load


def _by_h2load(row: Row, running: Running, seconds: float) -> Sample:
    """h2load tells no percentiles."""
    before = running.cpu()
    command = ["h2load", f"-c{_CONNECTIONS}", f"-m{_STREAMS}", f"-D{int(seconds)}"]
    if row.target.kind == GRPC:
        body = Path(__file__).with_name("message.bin")
        command += ["-d", str(body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
    path = "grpc/Service/Method" if row.target.kind == GRPC else "reviews/0"
    told = _run([*command, f"http://127.0.0.1:{running.port}/{path}"])
    done = int(_find(r"(\d+) succeeded", told))
    spent = running.cpu() - before
    errors = sum(int(n) for n in re.findall(r"(\d+) (?:failed|errored|timeout|3xx|4xx|5xx)", told))
    rate = float(_find(r"finished in [^,]+, ([\d.]+) req/s", told))
    return Sample(rate, cpu=spent / max(1, done) * 1e6, errors=errors, late=running.lateness())


_PERCENTILE = re.compile(r"(?m)^\s+99%\s+[\d.]+(?:us|ms|s)\b")


def _wrk(port: int, connections: int, seconds: int) -> str:
    url = f"http://127.0.0.1:{port}/reviews/0"
    return _run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", url])


def _run(command: list[str]) -> str:
    pinned_command = ["taskset", "-c", str(LOAD_CORE), *command]
    return subprocess.run(pinned_command, capture_output=True, text=True, check=True, timeout=120).stdout


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found.group(1) if found else ""


def _microseconds(text: str) -> float:
    found = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text)
    if found is None:
        raise ValueError(f"wrk told a time as {text!r}")
    return float(found.group(1)) * {"us": 1, "ms": 1e3, "s": 1e6, "m": 60e6}[found.group(2)]


_COLUMNS = (
    "",
    "proxy",
    "conns",
    "req/s (tcp: MB/s)",
    "x Envoy",
    "p50 µs",
    "p50 x Envoy",
    "p99 µs",
    "CPU µs/req (tcp: /MB)",
    "CPU Envoy/own",
    "RSS MB",
    "5 ms task late, p99 ms",
    "errors",
)


def table(rows: list[Row], left_out: dict[str, str], notes: list[str]) -> str:
    """Return the rows as Markdown."""
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}; load on "
        f"core {LOAD_CORE}, proxies on core {PROXY_CORE}. x Envoy: median of the rounds' own ratios.",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
    ]
    for row in rows:
        envoy = _envoy_of(row, rows)
        cpu = envoy.ratio(row, "cpu") if envoy else None
        late = max((s.late for s in row.samples if s.late is not None), default=None)
        lines.append(
            f"| {row.target.kind} | {row.target.name} | {row.connections} | {row.median('rate'):.0f} | "
            f"{_number(row.ratio(envoy))} | {row.median('p50'):.0f} | {_number(row.ratio(envoy, 'p50'))} | "
            f"{row.median('p99'):.0f} | {row.median('cpu'):.1f} | {_number(cpu)} | {row.resident:.0f} | "
            f"{_number(late)} | {sum(s.errors for s in row.samples)} |"
        )
    lines += ["", *notes, "", *goals(rows)]
    lines += [f"Left out: {name}: {why}." for name, why in left_out.items()]
    return "\n".join(lines)


def goals(rows: list[Row]) -> list[str]:
    """Return whether each goal is met."""
    told = []
    for row in rows:
        if row.target.name != "devmesh":
            continue
        ratio, goal = row.ratio(_envoy_of(row, rows)), GOALS[row.target.kind]
        if ratio is not None and (row.connections > 1 or row.target.kind == TCP):
            verdict = "met" if ratio >= goal else "missed"
            told.append(f"Goal {row.target.kind}: at least {goal} x Envoy: {ratio:.2f}, {verdict}.")
        slower = row.ratio(_envoy_of(row, rows), "p50")
        if slower is not None and row.connections == 1 and row.target.kind == ONE:
            verdict = "met" if slower <= 1 else "missed"
            told.append(f"Goal p50 at one connection: no worse than Envoy's: {slower:.2f} of it, {verdict}.")
    return told


def _envoy_of(row: Row, rows: list[Row]) -> Row | None:
    same = (row.target.kind, row.connections)
    return next(
        (r for r in rows if r.target.name == "envoy" and (r.target.kind, r.connections) == same), None
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def document(rows: list[Row], left_out: dict[str, str], asked: argparse.Namespace) -> dict[str, object]:
    """Return all samples, for machines."""
    return {
        "time": time.time(),
        "rounds": asked.rounds,
        "seconds": asked.seconds,
        "left_out": left_out,
        "rows": [
            {
                "kind": row.target.kind,
                "proxy": row.target.name,
                "connections": row.connections,
                "resident_mb": row.resident,
                "samples": [vars(sample) for sample in row.samples],
            }
            for row in rows
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
