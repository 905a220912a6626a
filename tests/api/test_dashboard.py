"""The built dashboard in a real browser, over an API of made-up traffic: what people see, found by role."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ui.dev.fake_api import BUILT, make_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
WAIT = 15_000  # ms, for what appears by itself: on a busy machine too

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs Chromium at {CHROMIUM}"),
    pytest.mark.skipif(
        not (BUILT / "index.html").exists(),
        reason="needs the built dashboard: npm --prefix ui ci && npm --prefix ui run build",
    ),
]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=arguments)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = make_server(0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page of a new visitor; whatever it complains about in its console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    context.set_default_timeout(WAIT)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
    assert [text for text in complaints if not re.search(r"status of (401|500)", text)] == []


def test_the_graph_shows_workloads_rates_errors_and_padlocks(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=broken")
    page.get_by_role(
        "button", name=re.compile(r"^reviews v3, failing, 2\.5 requests a second, 42 % errors")
    ).wait_for()
    edge = page.get_by_role("button", name=re.compile("^productpage v1 to reviews v3, failing"))
    assert re.fullmatch(r"2\.\d /s42 %", edge.inner_text().replace("\n", ""))
    assert page.get_by_text("live · 6 of 7 workloads ready · snapshot 41").is_visible()


def test_missing_mutual_tls_is_told(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=plain")
    page.get_by_role("button", name=re.compile(r"^curl to details v1, .*no mutual TLS$")).wait_for()
    page.get_by_role(
        "button", name=re.compile(r"^productpage v1 to details v1, ok, [\d.]+ requests a second$")
    ).wait_for()
    page.get_by_role("button", name=re.compile("^curl, .*not in the mesh")).wait_for()


def test_the_token_leaves_the_address_and_stays_with_the_browser(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/?window=300#token=bookinfo")
    page.get_by_role("button", name=re.compile("^productpage v1, ok")).wait_for()
    assert page.url == f"{origin}/?window=300"
    page.goto(f"{origin}/")
    page.get_by_role("button", name=re.compile("^productpage v1, ok")).wait_for()
    assert page.context.cookies() == []


def test_without_a_token_the_page_says_where_to_get_one(page: "Page", origin: str) -> None:
    page.goto(origin)
    page.get_by_role("status", name="This page needs its link").wait_for()
    page.evaluate("location.hash = 'token=bookinfo'")
    page.get_by_role("button", name=re.compile("^productpage v1, ok")).wait_for()


def test_a_refused_token_is_told_apart_from_none(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=another")
    page.get_by_role("alert", name="This link is not for the mesh that runs now").wait_for()


def test_a_failure_says_what_and_why(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=failing")
    alert = page.get_by_role("alert", name="The mesh could not answer (500)")
    alert.wait_for()
    assert "no snapshot has been compiled yet" in alert.inner_text()
    assert alert.get_by_role("button", name="Try again now").is_visible()


def test_a_mesh_without_traffic_says_how_to_make_some(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=quiet")
    notice = page.get_by_role("status", name="No traffic in the last minute")
    notice.wait_for()
    assert "curl localhost:8080/productpage" in notice.inner_text()
    page.get_by_role("button", name="reviews v3, idle", exact=True).wait_for()


def test_old_news_is_marked_as_old(page: "Page", origin: str) -> None:
    page.clock.install()
    page.goto(f"{origin}/#token=silent")
    page.get_by_role("button", name=re.compile("^productpage v1, ok")).wait_for()
    page.clock.fast_forward(14_000)
    page.get_by_text(re.compile(r"^last event 1\d s ago$")).wait_for()


def test_a_stream_that_breaks_off_is_taken_up_again(page: "Page", origin: str) -> None:
    streams: list[str] = []
    page.on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)
    page.goto(f"{origin}/#token=dropping")
    page.get_by_text(re.compile("^live · 6 workloads")).wait_for()
    page.wait_for_event("request", lambda request: "/events" in request.url)
    assert len(streams) >= 2
    assert page.get_by_text(re.compile("^live · 6 workloads")).is_visible()
    assert page.title() == "bookinfo · devmesh"


def test_the_selection_is_in_the_url_and_leaves_it_with_escape(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=broken")
    page.get_by_role("button", name=re.compile("^productpage v1 to reviews v3")).click()
    details = page.get_by_role("complementary", name="Details")
    details.get_by_role("heading", name="productpage v1 → reviews v3").wait_for()
    text = details.inner_text()
    assert all(
        part in text for part in ("circuit breaker open", "UO", "503", "11 ms · 48 ms · 204 ms", "spiffe://")
    )
    assert "edge=" in page.url
    page.reload()
    details.get_by_role("heading", name="productpage v1 → reviews v3").wait_for()
    page.keyboard.press("Escape")
    details.wait_for(state="hidden")
    assert page.url == f"{origin}/"


def test_the_time_window_is_chosen_and_kept_in_the_url(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=bookinfo")
    page.get_by_role("combobox", name="Time window").click()
    with page.expect_request(re.compile(r"/devmesh/v1/events\?topics=graph&window=600$")):
        page.get_by_role("option", name="Last 10 min").click()
    assert page.url == f"{origin}/?window=600"


def test_the_keyboard_does_all(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=bookinfo")
    page.get_by_role("button", name=re.compile("^reviews v2, ok")).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("reviews")
    page.wait_for_url(f"{origin}/?find=reviews")
    page.keyboard.press("Escape")
    page.wait_for_url(f"{origin}/")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys and legend").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_role("button", name=re.compile("^reviews v2, ok")).press("Enter")
    page.get_by_role("complementary", name="Details").get_by_role("heading", name="reviews v2").wait_for()


def test_the_theme_follows_the_system_until_one_is_chosen(page: "Page", origin: str) -> None:
    page.goto(f"{origin}/#token=bookinfo")
    theme = "document.documentElement.dataset.theme"
    assert page.evaluate(theme) == "dark"
    page.get_by_role("button", name="Switch to the light theme").click()
    assert page.evaluate(theme) == "light"
    page.reload()
    page.get_by_role("button", name="Switch to the dark theme").wait_for()
    assert page.evaluate(theme) == "light"


def test_the_first_page_is_light() -> None:
    import gzip

    scripts = [gzip.compress(file.read_bytes()) for file in (BUILT / "assets").glob("*.js")]
    assert sum(map(len, scripts)) < 350_000
