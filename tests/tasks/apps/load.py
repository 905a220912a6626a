"""A load client with the flags and the summary lines of fortio's that Istio's tasks read.

load.py load [-c CONNECTIONS] [-qps RATE] [-n COUNT] [-loglevel LEVEL] [-H "NAME: VALUE"] URL
load.py curl URL
"""

from __future__ import annotations

import argparse
import http.client
import threading
import time
from collections import Counter
from urllib.parse import urlsplit


def load(url: str, connections: int, count: int, rate: float, headers: dict[str, str]) -> None:
    parts = urlsplit(url)
    codes: Counter[int] = Counter()
    times: list[float] = []
    lock = threading.Lock()
    left = [count]

    def work() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=20)
        while True:
            with lock:
                if not left[0]:
                    break
                left[0] -= 1
            begun = time.perf_counter()
            try:
                connection.request("GET", parts.path or "/", headers=headers)
                answer = connection.getresponse()
                answer.read()
                code = answer.status
            except OSError:
                connection.close()
                code = -1
            with lock:
                codes[code] += 1
                times.append(time.perf_counter() - begun)
            if rate:
                time.sleep(connections / rate)
        connection.close()

    begun = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    print(f"Ended after {took:.6f}s : {count} calls. qps={count / took:.5g}")
    times.sort()
    for percent in (50, 75, 90, 99):
        print(f"# target {percent}% {times[min(len(times) - 1, len(times) * percent // 100)]:.6g}")
    for code, number in sorted(codes.items()):
        print(f"Code {code:3d} : {number} ({100 * number / count:.1f} %)")
    print(
        f"All done {count} calls (plus 0 warmup) {1000 * sum(times) / count:.3f} ms avg, "
        f"{count / took:.1f} qps"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("verb", choices=["load", "curl"])
    parser.add_argument("-c", type=int, default=4)
    parser.add_argument("-qps", type=float, default=0)
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("-quiet", action="store_true")
    parser.add_argument("-loglevel", default="")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("url")
    given = parser.parse_args()
    headers = dict(tuple(part.strip() for part in field.split(":", 1)) for field in given.H)
    if given.verb == "load":
        load(given.url, given.c, given.n, given.qps, headers)
        return
    parts = urlsplit(given.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=20)
    connection.request("GET", parts.path or "/", headers=headers)
    answer = connection.getresponse()
    print(f"HTTP/1.1 {answer.status} {answer.reason}")
    for name, value in answer.getheaders():
        print(f"{name}: {value}")
    print()
    print(answer.read().decode())


if __name__ == "__main__":
    main()
