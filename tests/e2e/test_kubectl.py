"""The real kubectl, on a real mesh: what needs running workloads."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.e2e.bookinfo import KUBECTL, Bookinfo, eventually


def test_pods_show_their_proxy(bookinfo: Bookinfo) -> None:
    apps = "app in (productpage,details,reviews,ratings)"
    lines = bookinfo.kubectl("get", "pods", "--no-headers", "-l", apps).splitlines()
    assert len(lines) == 6
    assert all(line.split()[1:4] == ["2/2", "Running", "0"] for line in lines)


def test_a_command_runs_in_a_container_and_its_status_comes_back(bookinfo: Bookinfo) -> None:
    done = subprocess.run(
        [KUBECTL, "exec", "-i", "deploy/ratings-v1", "-c", "ratings", "--", "sh", "-c", "cat; exit 7"],
        env=bookinfo.environment, input="hello", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("hello", 7)


def test_services_are_reached_by_name_from_inside(bookinfo: Bookinfo) -> None:
    said = bookinfo.kubectl(
        "exec",
        "deploy/productpage-v1",
        "-c",
        "productpage",
        "--",
        "curl",
        "-s",
        "http://reviews:9080/reviews/0",
    )
    assert len(json.loads(said)["reviews"]) == 2


def test_logs_of_the_application_and_of_its_proxy(bookinfo: Bookinfo) -> None:
    bookinfo.get()
    assert "GET /productpage" in bookinfo.kubectl(
        "logs", "deploy/productpage-v1", "-c", "productpage", "--tail=20"
    )

    def logged() -> bool:
        lines = bookinfo.kubectl("logs", "deploy/productpage-v1", "-c", "istio-proxy", "--tail=20")
        return "outbound|9080||details.default.svc.cluster.local" in lines and "inbound|9080||" in lines

    eventually(logged)
    assert bookinfo.kubectl("logs", "-l", "app=reviews", "-c", "reviews", "--tail=2", "--since=1h")


def test_scaling_shares_the_load(bookinfo: Bookinfo) -> None:
    bookinfo.kubectl("scale", "deploy/details-v1", "--replicas=3")
    bookinfo.kubectl("rollout", "status", "deploy/details-v1", "--timeout=60s", timeout=90)
    names = bookinfo.kubectl("get", "pods", "-l", "app=details", "-o", "name").split()
    assert len(names) == 3
    program = (
        "import urllib.request\n"
        "for _ in range(60): urllib.request.urlopen('http://details:9080/details/0').read()\n"
    )
    bookinfo.python("productpage-v1", program)

    def served(name: str) -> int:
        return bookinfo.kubectl("logs", name, "-c", "details").count("GET /details/0")

    assert eventually(lambda: all(served(name) for name in names))
    bookinfo.kubectl("scale", "deploy/details-v1", "--replicas=1")
    eventually(lambda: len(bookinfo.kubectl("get", "pods", "-l", "app=details", "-o", "name").split()) == 1)


def test_a_rollout_replaces_pods_without_a_failed_request(bookinfo: Bookinfo) -> None:
    before = bookinfo.kubectl("get", "pods", "-l", "app=ratings", "-o", "name")
    bookinfo.kubectl("rollout", "restart", "deploy/ratings-v1")
    bookinfo.kubectl("rollout", "status", "deploy/ratings-v1", "--timeout=60s", timeout=90)
    eventually(lambda: bookinfo.kubectl("get", "pods", "-l", "app=ratings", "-o", "name") != before)
    bookinfo.kubectl("wait", "deploy/ratings-v1", "--for=condition=Available", "--timeout=30s")


def test_a_killed_container_is_started_again(bookinfo: Bookinfo) -> None:
    bookinfo.kubectl("exec", "deploy/ratings-v1", "-c", "ratings", "--", "sh", "-c", "kill -9 1", check=False)
    bookinfo.kubectl(
        "exec", "deploy/ratings-v1", "-c", "ratings", "--", "sh", "-c", "kill -15 1", check=False
    )

    def restarted() -> bool:
        fields = bookinfo.kubectl("get", "pods", "-l", "app=ratings", "--no-headers").split()
        return fields[1] == "2/2" and fields[3] != "0"

    eventually(restarted, timeout=30)
    bookinfo.kubectl("delete", "pod", "-l", "app=ratings", "--timeout=40s", timeout=60)
    bookinfo.kubectl("rollout", "status", "deploy/ratings-v1", "--timeout=60s", timeout=90)


def test_an_image_that_cannot_be_had_is_told_and_the_rest_runs(bookinfo: Bookinfo) -> None:
    bookinfo.kubectl("create", "deployment", "nothing", "--image=localhost:1/nothing:1")
    try:
        eventually(
            lambda: any(
                reason in bookinfo.kubectl("get", "pods", "-l", "app=nothing")
                for reason in ("ErrImagePull", "ImagePullBackOff")
            ),
            timeout=30,
        )
        assert (
            "devmesh.yaml" in eventually(lambda: bookinfo.kubectl("describe", "pods", "-l", "app=nothing"))
            or bookinfo.status["runtime"] == "docker"
        )
        assert bookinfo.get().status == 200
    finally:
        bookinfo.kubectl("delete", "deployment", "nothing")


@pytest.mark.parametrize("path", ["virtualservice.spec.http.retries", "deployment.spec.replicas"])
def test_fields_are_explained(bookinfo: Bookinfo, path: str) -> None:
    said = bookinfo.kubectl("explain", path)
    assert f"FIELD: {path.rpartition('.')[2]}" in said


def test_describe_tells_what_happened(bookinfo: Bookinfo) -> None:
    said = bookinfo.kubectl("describe", "pod", "-l", "app=details")
    assert "istio-proxy:" in said
    assert "Started" in said
