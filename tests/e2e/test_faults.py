"""Istio's fault injection and request timeouts tasks, on Bookinfo."""

from __future__ import annotations

import time

import pytest

from tests.e2e.bookinfo import Bookinfo


@pytest.fixture
def v1(bookinfo: Bookinfo) -> Bookinfo:
    bookinfo.apply("virtual-service-all-v1.yaml", "virtual-service-reviews-test-v2.yaml")
    return bookinfo


def test_fault_injection_delay(v1: Bookinfo) -> None:
    """The reviews time out before the ratings come: productpage waits 3 s, and tries once more."""
    v1.apply("virtual-service-ratings-test-delay.yaml")
    started = time.monotonic()
    page = v1.get(user="jason")
    assert time.monotonic() - started == pytest.approx(6, abs=0.9)
    assert "Error fetching product reviews" in page.body
    assert "Sorry, product reviews are currently unavailable for this book." in page.body
    assert "Sorry" not in v1.get().body


def test_fault_injection_abort(v1: Bookinfo) -> None:
    v1.apply("virtual-service-ratings-test-abort.yaml")
    page = v1.get(user="jason")
    assert page.status == 200
    assert "Ratings service is currently unavailable" in page.body
    assert "Ratings service" not in v1.get().body
    asked = v1.kubectl(
        "exec", "deploy/reviews-v2", "-c", "reviews", "--",
        "curl", "-si", "-H", "end-user: jason", "http://ratings:9080/ratings/0",
    )  # fmt: skip
    head, _, body = asked.replace("\r", "").partition("\n\n")
    assert head.splitlines()[0] == "HTTP/1.1 500 Internal Server Error"
    assert body == "fault filter abort"


TIMEOUT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: ratings}
spec:
  hosts: [ratings]
  http:
  - fault: {delay: {percentage: {value: 100}, fixedDelay: 2s}}
    route: [{destination: {host: ratings, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews, subset: v2}}]
"""


def test_request_timeouts(v1: Bookinfo) -> None:
    v1.kubectl("apply", "-f", "-", stdin=TIMEOUT)
    started = time.monotonic()
    assert v1.get().stars == "black"
    assert time.monotonic() - started == pytest.approx(2, abs=0.5)

    patch = '[{"op": "add", "path": "/spec/http/0/timeout", "value": "0.5s"}]'
    v1.kubectl("patch", "virtualservice", "reviews", "--type=json", "-p", patch)
    started = time.monotonic()
    page = v1.get()
    assert "Sorry, product reviews are currently unavailable for this book." in page.body
    assert time.monotonic() - started == pytest.approx(1, abs=0.4), "0.5 s, and productpage tries once more"
