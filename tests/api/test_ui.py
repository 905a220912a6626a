from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devmesh.api.ui import add_ui


@pytest.fixture
def client(tmp_path: Path) -> Any:
    from quart_trio import QuartTrio

    folder = tmp_path / "ui"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>page")
    (folder / "assets" / "index-1a2b.js").write_text("code")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "assets" / "link.txt").symlink_to(tmp_path / "secret.txt")
    app = QuartTrio("test")
    add_ui(app, folder)
    return app.test_client()


@pytest.mark.parametrize("path", ["/", "/graph", "/workloads/default/reviews-v1", "/graph?ns=default"])
async def test_every_page_is_the_one_page(client: Any, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, await answer.get_data()) == (200, b"<!doctype html>page")
    assert answer.headers["Cache-Control"] == "no-cache"


async def test_a_client_that_wants_json_gets_no_page(client: Any) -> None:
    answer = await client.get("/nothing", headers={"Accept": "application/json, */*"})
    assert answer.status_code == 404
    assert (await answer.get_json())["message"] == "the server could not find the requested resource"


async def test_assets_are_kept_for_ever(client: Any) -> None:
    answer = await client.get("/assets/index-1a2b.js")
    assert await answer.get_data() == b"code"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.content_type.startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    [
        "/assets/missing.js",
        "/favicon.ico",
        "/../secret.txt",
        "/assets/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/link.txt",
    ],
)
async def test_nothing_outside_the_folder_is_served(client: Any, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert b"secret" not in await answer.get_data()


async def test_what_has_not_changed_is_not_sent_again(client: Any) -> None:
    tag = (await client.get("/")).headers["ETag"]
    answer = await client.get("/", headers={"If-None-Match": tag})
    assert (answer.status_code, await answer.get_data()) == (304, b"")


async def test_a_dashboard_that_was_not_built_is_told(tmp_path: Path) -> None:
    from quart_trio import QuartTrio

    app = QuartTrio("test")
    add_ui(app, tmp_path)
    answer = await app.test_client().get("/graph")
    assert answer.status_code == 200
    assert b"make ui" in await answer.get_data()
