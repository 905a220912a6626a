"""The page: what Istio's tasks look for in it, with all parts well and with each part failing."""

import re
from collections.abc import Iterator

import pytest

from tests.samples.bookinfo import Program, answering_with, call

OUT_OF_REACH = 1  # no service listens on this port


@pytest.fixture(scope="module")
def shop() -> Iterator[Program]:
    """productpage in front of details, reviews v3 and ratings."""
    with (
        Program("ratings") as ratings,
        Program("details") as details,
        Program("reviews", "v3", upstreams={"ratings": ratings.port}) as reviews,
    ):
        ports = {"details": details.port, "reviews": reviews.port, "ratings": ratings.port}
        with Program("productpage", upstreams=ports) as productpage:
            yield productpage


def test_the_page_shows_book_details_and_starred_reviews(shop: Program) -> None:
    page = call(shop.port, "/productpage").text
    assert "<title>Simple Bookstore App</title>" in page
    assert all(
        part in page for part in ("The Comedy of Errors", "PublisherA", "Reviews served by:", "reviews-pod")
    )
    assert page.count('<span class="glyphicon glyphicon-star"></span>') == 9
    assert page.count('color="red"') == 2
    assert "Error fetching" not in page


@pytest.mark.parametrize("path", ["/", "/productpage?u=normal", "/productpage?u=test", "/health"])
def test_the_ways_in_answer(shop: Program, path: str) -> None:
    assert call(shop.port, path).status == 200


def test_the_page_needs_nothing_from_elsewhere(shop: Program) -> None:
    page = call(shop.port, "/productpage").text
    assert not re.search(r"""(src|href)=["'](https?:)?//|url\(|@import""", page)


def test_without_stars_the_page_has_no_trace_of_them() -> None:
    with (
        Program("reviews", "v1") as reviews,
        Program("productpage", upstreams={"reviews": reviews.port}) as page,
    ):
        text = call(page.port, "/productpage").text
    assert "Reviewer2" in text
    assert "glyphicon" not in text


def test_the_page_says_which_part_failed() -> None:
    with Program("productpage", upstreams={"details": OUT_OF_REACH, "reviews": OUT_OF_REACH}) as productpage:
        answer = call(productpage.port, "/productpage")
    assert answer.status == 200
    assert "Error fetching product details" in answer.text
    assert "Sorry, product details are currently unavailable for this book." in answer.text
    assert "Error fetching product reviews" in answer.text
    assert "Sorry, product reviews are currently unavailable for this book." in answer.text


def test_the_page_says_that_ratings_failed() -> None:
    with (
        Program("reviews", "v2", upstreams={"ratings": OUT_OF_REACH}) as reviews,
        Program("productpage", upstreams={"reviews": reviews.port}) as productpage,
    ):
        text = call(productpage.port, "/productpage").text
    assert text.count("Ratings service is currently unavailable") == 2


def test_reviews_are_asked_twice_and_details_once() -> None:
    asked: list[bytes] = []
    refusal = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    with (
        answering_with(refusal, asked) as port,
        Program("productpage", upstreams={"details": port, "reviews": port}) as productpage,
    ):
        call(productpage.port, "/productpage")
        numbers = call(productpage.port, "/metrics").text
    assert [head.split()[1] for head in asked] == [b"/details/0", b"/reviews/0", b"/reviews/0"]
    assert 'request_result_total{destination_app="reviews",response_code="503"} 2\n' in numbers


def test_a_signed_in_user_is_named_to_every_service() -> None:
    asked: list[bytes] = []
    sent = {"x-request-id": "r1", "traceparent": "00-1-2-01", "x-b3-traceid": "1"}
    with (
        answering_with(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}", asked) as port,
        Program("productpage", upstreams={"details": port, "reviews": port}) as productpage,
    ):
        signed_in = call(productpage.port, "/login", form={"username": "jason", "passwd": ""})
        cookie = signed_in.headers["set-cookie"].split(";")[0]
        page = call(productpage.port, "/productpage", {**sent, "cookie": cookie}).text
    assert (signed_in.status, signed_in.headers["location"]) == (302, "/productpage")
    assert "<b>jason</b>" in page
    assert "sign out" in page
    assert len(asked) == 2
    for head in asked:
        text = head.decode().lower()
        assert all(f"{name}: {value}\r\n" in text for name, value in {**sent, "end-user": "jason"}.items())


def test_a_forged_cookie_signs_nobody_in(shop: Program) -> None:
    cookie = call(shop.port, "/login", form={"username": "jason"}).headers["set-cookie"].split(";")[0]
    forged = cookie[:-1] + ("0" if cookie[-1] != "0" else "1")
    assert "sign out" in call(shop.port, "/productpage", {"cookie": f"other=1; {cookie}"}).text
    assert "sign out" not in call(shop.port, "/productpage", {"cookie": forged}).text


def test_a_name_is_text_not_markup_nor_header() -> None:
    with Program("productpage", upstreams={"details": OUT_OF_REACH, "reviews": OUT_OF_REACH}) as productpage:
        signed_in = call(productpage.port, "/login", form={"username": "<b>\r\nx: y\u20ac</b>"})
        page = call(
            productpage.port, "/productpage", {"cookie": signed_in.headers["set-cookie"].split(";")[0]}
        )
    assert "&lt;b&gt;x: y&lt;/b&gt;" in page.text


@pytest.mark.parametrize(
    "referer", ["https://elsewhere.example/productpage?u=test", "http://a/productpage?u=test"]
)
def test_login_goes_back_to_the_page_on_this_site(shop: Program, referer: str) -> None:
    answer = call(shop.port, "/login", {"referer": referer}, form={"username": "jason"})
    assert answer.headers["location"] == "/productpage?u=test"


def test_login_never_leads_to_another_site(shop: Program) -> None:
    answer = call(
        shop.port, "/login", {"referer": "http://a//elsewhere.example/"}, form={"username": "jason"}
    )
    assert answer.headers["location"] == "/productpage"


def test_logout_forgets_the_user(shop: Program) -> None:
    answer = call(shop.port, "/logout")
    assert answer.status == 302
    assert "session=;" in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


def test_the_api_gives_the_parts_as_json(shop: Program) -> None:
    assert '"The Comedy of Errors"' in call(shop.port, "/api/v1/products").text
    assert call(shop.port, "/api/v1/products/0").document["pages"] == 200
    assert call(shop.port, "/api/v1/products/0/ratings").document["id"] == 0
    assert call(shop.port, "/api/v1/products/0/reviews").document["id"] == "0"
    assert call(shop.port, "/api/v1/products/0/nothing").status == 404
