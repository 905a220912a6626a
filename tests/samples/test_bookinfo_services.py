"""The sample's services, each on its own, as its neighbours and Istio's examples see them."""

import re
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.samples.bookinfo import Program, answering_with, call

OUT_OF_REACH = 1  # no service listens on this port


@pytest.fixture(scope="module")
def ratings() -> Iterator[Program]:
    with Program("ratings") as program:
        yield program


@pytest.fixture(scope="module")
def details() -> Iterator[Program]:
    with Program("details") as program:
        yield program


def answer_once(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()


def milliseconds(log: str) -> int:
    """How long the one request in a service's log took."""
    (took,) = re.findall(r"^GET .* (\d+)ms ", log, re.MULTILINE)
    return int(took)


def test_ratings_give_two_reviewers_stars(ratings: Program) -> None:
    assert call(ratings.port, "/ratings/0").document == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}


def test_posted_ratings_replace_the_first_ones(ratings: Program) -> None:
    assert call(ratings.port, "/ratings/7", body='{"Reviewer1": 1}').status == 200
    assert call(ratings.port, "/ratings/7").document == {"id": 7, "ratings": {"Reviewer1": 1}}


@pytest.mark.parametrize(
    ("path", "body"), [("/ratings/x", None), ("/ratings/x", "{}"), ("/ratings/0", "nonsense")]
)
def test_ratings_refuse_what_they_do_not_understand(ratings: Program, path: str, body: str | None) -> None:
    assert call(ratings.port, path, body=body).status == 400


def test_details_tell_about_the_book(details: Program) -> None:
    document = call(details.port, "/details/0").document
    assert document["id"] == 0
    assert document["author"] == "William Shakespeare"
    assert {"year", "type", "pages", "publisher", "language", "ISBN-10", "ISBN-13"} < document.keys()


def test_details_refuse_a_product_that_is_no_number(details: Program) -> None:
    assert call(details.port, "/details/x").status == 400


def test_reviews_v1_never_asks_for_ratings() -> None:
    with Program("reviews", "v1", upstreams={"ratings": OUT_OF_REACH}) as reviews:
        document = call(reviews.port, "/reviews/0").document
        assert (document["id"], document["podname"]) == ("0", "reviews-pod")
        assert "rating" not in str(document)


@pytest.mark.parametrize(("version", "color"), [("v2", "black"), ("v3", "red")])
def test_later_reviews_have_stars_of_their_color(ratings: Program, version: str, color: str) -> None:
    with Program("reviews", version, upstreams={"ratings": ratings.port}) as reviews:
        found = call(reviews.port, "/reviews/0").document["reviews"]
    assert isinstance(found, list)
    assert [review["rating"] for review in found] == [
        {"stars": 5, "color": color},
        {"stars": 4, "color": color},
    ]


@pytest.mark.parametrize(
    "broken",
    [answer_once("fault filter abort", "500 Internal Server Error"), answer_once("{}"), b"", b"\x15\x03\x01"],
)
def test_reviews_do_without_ratings_that_fail(broken: bytes) -> None:
    with answering_with(broken, []) as port, Program("reviews", "v2", upstreams={"ratings": port}) as reviews:
        answer = call(reviews.port, "/reviews/0")
    assert answer.status == 200
    assert answer.text.count('{"error": "Ratings service is currently unavailable"}') == 2


@pytest.mark.slow
def test_productpage_waits_twice_3_s_for_reviews_and_reviews_v3_2500_ms_for_ratings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        ports = dict.fromkeys(("reviews", "ratings"), silent.getsockname()[1]) | {"details": OUT_OF_REACH}
        with (
            Program("productpage", upstreams=ports) as productpage,
            Program("reviews", "v3", upstreams=ports) as reviews,
            ThreadPoolExecutor() as both,
        ):
            page, answer = both.map(call, (productpage.port, reviews.port), ("/productpage", "/reviews/0"))
            took = {program.name: milliseconds(program.stop()[1]) for program in (productpage, reviews)}
    assert "Error fetching product reviews" in page.text
    assert "Ratings service is currently unavailable" in answer.text
    assert 5900 < took["productpage"] < 6900
    assert 2400 < took["reviews"] < 3000


def test_reviews_pass_on_what_routing_and_tracing_look_at() -> None:
    sent = {
        "x-request-id": "r1",
        "traceparent": "00-1-2-01",
        "b3": "1-2-1",
        "x-b3-traceid": "1",
        "end-user": "jason",
    }
    requests: list[bytes] = []
    with (
        answering_with(answer_once('{"ratings": {}}'), requests) as port,
        Program("reviews", "v2", upstreams={"ratings": port}) as reviews,
    ):
        call(reviews.port, "/reviews/0", {**sent, "x-private": "1"})
    head = requests[0].decode().lower()
    assert head.startswith("get /ratings/0 http/1.1")
    assert all(f"{name}: {value}\r\n" in head for name, value in sent.items())
    assert "x-private" not in head


@pytest.mark.parametrize(
    ("name", "text"), [("details", "Details"), ("reviews", "Reviews"), ("ratings", "Ratings")]
)
def test_services_say_that_they_are_healthy_and_keep_it_out_of_the_log(name: str, text: str) -> None:
    with Program(name) as program:
        assert call(program.port, "/health").document == {"status": f"{text} is healthy"}
        assert program.stop() == (0, "")


@pytest.mark.parametrize("name", ["productpage", "details", "reviews", "ratings"])
def test_services_log_each_request_and_end_at_once_with_0(name: str) -> None:
    with Program(name) as program:
        call(program.port, "/nothing", {"x-request-id": "id-1"})
        program.process.send_signal(signal.SIGTERM)
        status, log = program.stop()
    assert status == 0
    assert log.startswith("GET /nothing 404 ")
    assert log.endswith(" id-1\n")


@pytest.mark.parametrize("name", ["productpage", "details", "reviews", "ratings"])
def test_a_connection_serves_many_requests(name: str) -> None:
    with Program(name) as program, socket.create_connection(("127.0.0.1", program.port), 5) as peer:
        for _ in range(2):
            peer.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
            assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("name", ["productpage", "details", "reviews", "ratings"])
def test_a_body_that_nobody_reads_is_not_taken_for_a_request(name: str) -> None:
    smuggled = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
    head = f"GET /nothing HTTP/1.1\r\nhost: a\r\ncontent-length: {len(smuggled)}\r\n\r\n".encode()
    with Program(name) as program, socket.create_connection(("127.0.0.1", program.port), 5) as peer:
        peer.sendall(head + smuggled)
        peer.shutdown(socket.SHUT_WR)
        received = b""
        while more := peer.recv(65536):
            received += more
    assert received.count(b"HTTP/1.1 ") == 1
