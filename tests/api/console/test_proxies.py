"""What the console's API tells of proxies, and asks them."""

from __future__ import annotations

import msgspec
import pytest
from quart_trio import QuartTrio

from devmesh.api.console.blueprint import build_console
from devmesh.api.console.deps import ConsoleDeps
from devmesh.api.console.proxies import ejected_by, proxies
from devmesh.proxy.admin.http import Asked, Reply
from devmesh.proxy.admin.ports import Admin
from devmesh.telemetry.recorder import Recorder
from tests.proxy.meshes import APP, CLUSTER, Mesh
from tests.proxy.test_admin import Recorded


class Api:
    """The console's API over a mesh in memory."""

    def __init__(self) -> None:
        self.mesh, self.controls = Mesh(), Recorded()
        self.admin = Admin(self.mesh.plane, self.controls, lambda proxy: None, lambda proxy: ())
        app = QuartTrio(__name__)
        deps = ConsoleDeps(
            "test", self.mesh.feed, Recorder(), self.mesh.certificates, dict, list, admin=self.admin
        )
        app.register_blueprint(build_console(deps))
        self.client = app.test_client()

    async def call(self, method: str, path: str) -> tuple[int, str]:
        response = await self.client.open(f"/devmesh/v1/{path}", method=method)
        return response.status_code, await response.get_data(as_text=True)


@pytest.fixture
def api() -> Api:
    return Api()


async def test_commands_go_to_the_proxy(api: Api) -> None:
    assert await api.call("POST", "proxies/default/b/admin/drain_listeners?inboundonly") == (200, "OK\n")
    assert api.controls.told == ["drain b inbound"]
    status, text = await api.call("GET", "proxies/default/b-pod/admin/drain_listeners")
    assert (status, text) == (405, "Method GET not allowed, POST required.")
    status, text = await api.call("GET", "proxies/default/nobody/admin/stats")
    assert status == 404
    assert "no pod or workload 'nobody'" in text


async def test_paths_may_have_several_parts(api: Api) -> None:
    assert await api.call("POST", "proxies/default/b/admin/healthcheck/fail") == (200, "OK\n")
    assert api.mesh.plane.state("b").failing


async def test_all_proxies_are_listed(api: Api) -> None:
    status, text = await api.call("GET", "proxies")
    rows = msgspec.json.decode(text)
    assert status == 200
    assert [row["name"] for row in rows] == ["a-pod.default", "b-pod.default"]
    assert {row["eds"] for row in rows} == {"SYNCED"}
    assert len(proxies(api.mesh.feed.current)) == 2


async def test_endpoints_that_are_left_out_are_shown_so(api: Api) -> None:
    path = "proxy-config/endpoints/default/a"

    async def health() -> list[tuple[str, str]]:
        rows = msgspec.json.decode((await api.call("GET", path))[1])
        return [(row["status"], row["outlier_check"]) for row in rows if row["cluster"] == CLUSTER]

    assert await health() == [("HEALTHY", "OK")]
    api.mesh.plane.state("a").cluster(CLUSTER).balancing.ejected.add(APP)
    assert await health() == [("UNHEALTHY", "FAILED")]
    assert not ejected_by(None, "a")(CLUSTER, APP)


async def test_an_answer_may_come_later(api: Api) -> None:
    replies: list[Reply] = []
    api.admin.command("a", Asked.of("GET", "/ready"), replies.append)
    assert not replies
    api.mesh.reactor.settle()
    assert replies[0].body == "LIVE\n"
