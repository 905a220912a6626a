"""Serves the built dashboard: the same files for everybody, so no token is asked for them."""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from devmesh.api.kube.errors import no_such_path

if TYPE_CHECKING:
    from quart import Response
    from quart_trio import QuartTrio

BUILT = Path(__file__).parent / "ui"
FOREVER = "public, max-age=31536000, immutable"

MISSING = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>devmesh</title></head>
<body>
<h1>devmesh is running</h1>
<p>The dashboard is not part of this installation: it is built from <code>ui/</code> into the wheel.
In a checkout, <code>make ui</code> builds it.</p>
<p>The API answers meanwhile: <code>devmesh status</code>, <code>devmesh graph</code>,
<code>KUBECONFIG=$(devmesh kubeconfig --path) kubectl get pods</code>.</p>
</body></html>
"""


def add_ui(app: QuartTrio, folder: Path = BUILT) -> None:
    """Serve `folder`; a path that is no file there is a page of the dashboard, which reads its own URL."""

    async def page(path: str = "") -> Response:
        return await _serve(folder, path)

    app.add_url_rule("/", "ui", page)
    app.add_url_rule("/<path:path>", "ui:path", page)


async def _serve(folder: Path, path: str) -> Response:
    from quart import Response, request

    file = _inside(folder, path)
    name = path
    if file is None and path and "application/json" in request.headers.get("Accept", ""):
        return Response(json.dumps(no_such_path().status()), status=404, content_type="application/json")
    if file is None and not _is_page(path):
        return Response("there is no such file\n", status=404, content_type="text/plain; charset=utf-8")
    if file is None:
        file, name = _inside(folder, "index.html"), "index.html"
    if file is None:
        return Response(MISSING, content_type="text/html; charset=utf-8")
    content, tag = await trio.to_thread.run_sync(_read, file)
    headers = {"Cache-Control": FOREVER if name.startswith("assets/") else "no-cache", "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return Response(b"", status=304, headers=headers)
    type_ = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if type_.startswith("text/") or type_.endswith(("javascript", "json")):
        type_ += "; charset=utf-8"
    return Response(content, content_type=type_, headers=headers)


def _read(file: Path) -> tuple[bytes, str]:
    about = file.stat()
    return file.read_bytes(), f'"{about.st_mtime_ns:x}-{about.st_size:x}"'


def _inside(folder: Path, path: str) -> Path | None:
    """Return the file, where it is one and lies in `folder`."""
    if not path or "\0" in path:
        return None
    found = (folder / path).resolve()
    return found if found.is_relative_to(folder.resolve()) and found.is_file() else None


def _is_page(path: str) -> bool:
    return not path.startswith("assets/") and "." not in path.rpartition("/")[2]
