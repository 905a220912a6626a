import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from devmesh.snapshot.route import Redirect, Rewrite
from devmesh.traffic.rewriting import location, path
from devmesh.traffic.routing import RequestHead


@pytest.mark.parametrize(
    ("rewrite", "target", "sent"),
    [
        (Rewrite(path="/new", matched="/old"), "/old/x?y=1", "/new/x?y=1"),
        (Rewrite(path="/", matched="/old"), "/old/x", "//x"),  # as Envoy does
        (Rewrite(path="/", matched="/old/"), "/old/x", "/x"),
        (Rewrite(path="/new", matched="/OLD"), "/old", "/new"),
        (Rewrite(path="/new"), "/old/x?y", "/new?y"),
        (Rewrite(authority="other"), "/old?y", "/old?y"),
        (Rewrite(regex=re2.compile("/a/([^/]+)"), substitution=r"/\1/b"), "/a/x/a/z?q", "/x/b/z/b?q"),
        (Rewrite(regex=re2.compile("nothing"), substitution="x"), "/a", "/a"),
    ],
)
def test_path(rewrite: Rewrite, target: str, sent: str) -> None:
    assert path(rewrite, target) == sent


@pytest.mark.parametrize(
    ("redirect", "authority", "target", "to"),
    [
        (Redirect(path="/new"), "a", "/old?x=1", "http://a/new?x=1"),
        (Redirect(path="/new?z"), "a", "/old?x=1", "http://a/new?z"),
        (Redirect(authority="b"), "a:8080", "/x?y", "http://b/x?y"),
        (Redirect(scheme="https"), "a", "/x", "https://a/x"),
        (Redirect(scheme="https"), "a:80", "/x", "https://a/x"),
        (Redirect(scheme="https"), "a:8080", "/x", "https://a:8080/x"),
        (Redirect(scheme="http"), "a:80", "/x", "http://a:80/x"),
        (Redirect(port=8443, scheme="https"), "a:8080", "/x", "https://a:8443/x"),
        (Redirect(port=8443, authority="b"), "a:8080", "/x", "http://b:8443/x"),
        (Redirect(prefix="/new", matched="/old"), "a", "/old/x?y", "http://a/new/x?y"),
        (Redirect(scheme="https"), "[::1]:80", "/x", "https://[::1]/x"),
    ],
)
def test_location(redirect: Redirect, authority: str, target: str, to: str) -> None:
    assert location(redirect, RequestHead("GET", target, authority, "http", {})) == to


@given(rest=st.text("/ab?=&", max_size=10))
def test_a_prefix_put_in_its_own_place_changes_nothing(rest: str) -> None:
    assert path(Rewrite(path="/p", matched="/p"), "/p" + rest) == "/p" + rest
