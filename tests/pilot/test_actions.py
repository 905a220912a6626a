from __future__ import annotations

import pytest

from devmesh.pilot.actions import both, template
from devmesh.snapshot.route import NO_OPS, HeaderOps
from devmesh.traffic.headers import apply


@pytest.mark.parametrize(
    ("first", "second", "sent"),
    [
        (HeaderOps(set=(("x", "1"),)), HeaderOps(set=(("X", "2"),)), [("x", "2")]),
        (HeaderOps(add=(("x", "1"),)), HeaderOps(set=(("x", "2"),)), [("x", "2")]),
        (HeaderOps(set=(("x", "1"),)), HeaderOps(add=(("x", "2"),)), [("x", "1"), ("x", "2")]),
        (HeaderOps(add=(("x", "1"),)), HeaderOps(add=(("x", "2"),)), [("x", "0"), ("x", "1"), ("x", "2")]),
        (HeaderOps(add=(("x", "1"),)), HeaderOps(("x",)), [("x", "1")]),
        (HeaderOps(("x",)), HeaderOps(add=(("x", "2"),)), [("x", "2")]),
        (NO_OPS, HeaderOps(set=(("x", "2"),)), [("x", "2")]),
        (HeaderOps(set=(("x", "1"),)), NO_OPS, [("x", "1")]),
    ],
)
def test_the_only_destination_speaks_after_its_route(
    first: HeaderOps, second: HeaderOps, sent: list[tuple[str, str]]
) -> None:
    """Istio puts both into one list for Envoy, which removes first, then goes on in order."""
    fields = [("x", "0")]
    apply(both(first, second), fields, lambda name, argument: None)
    assert fields == sent


@pytest.mark.parametrize(
    ("written", "made"), [(r"/\2/\1", "/b/a"), (r"[\0]", "[ab]"), (r"\10", "a0"), (r"\\1", r"\1"), ("x", "x")]
)
def test_groups_are_named_as_re2_does(written: str, made: str) -> None:
    import re2

    assert re2.compile("(a)(b)").sub(template(written), "ab") == made
