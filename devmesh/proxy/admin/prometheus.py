"""``/stats/prometheus``: Envoy's counters with Istio's tags, and the proxy's ``istio_*`` metrics.

Istio's bootstrap takes the cluster's name, the response code and the listener's address out of the
names and makes them labels; everything else stays in the name.
"""

from __future__ import annotations

import re

from devmesh.proxy.admin.http import Asked, Reply
from devmesh.proxy.admin.stats import Stat, filter_of, gather
from devmesh.proxy.admin.view import View
from devmesh.telemetry.exposition import CONTENT_TYPE, label_text

_CODE = re.compile(r"_rq_(\d{3}|\dxx)$")
_NO_NAME = re.compile(r"[^a-zA-Z0-9_]")
_LABELS = {"cluster": "cluster_name", "listener": "listener_address"}


def named(stat: Stat) -> tuple[str, str]:
    """Return a value's metric and its labels as text."""
    keys: list[str] = []
    values: list[str] = []
    name, parts = stat.name, [stat.scope]
    if code := _CODE.search(name):
        name = name[: code.start()] + "_rq"
        keys.append("response_code_class" if code[1].endswith("xx") else "response_code")
        values.append(code[1])
    if label := _LABELS.get(stat.scope):
        keys.append(label)
        values.append(stat.of)
    else:
        parts.append(stat.of)
    metric = "_".join(part for part in ("envoy", *parts, name) if part)
    return _NO_NAME.sub("_", metric), label_text(keys, values)


def prometheus(view: View, asked: Asked) -> Reply:
    """Answer ``/stats/prometheus``."""
    wanted, error = filter_of(asked)
    if error is not None:
        return error
    families: dict[str, list[str]] = {}
    gauges: dict[str, bool] = {}
    for stat in gather(view):
        if not wanted(stat.full_name) or ("usedonly" in asked.query and not stat.value):
            continue
        metric, labels = named(stat)
        gauges[metric] = stat.gauge
        families.setdefault(metric, []).append(f"{metric}{{{labels}}} {stat.value}\n")
    text = []
    for metric in sorted(families):
        text.append(f"# TYPE {metric} {'gauge' if gauges[metric] else 'counter'}\n")
        text += families[metric]
    if view.proxy is not None and "filter" not in asked.query:
        text += view.metrics(view.proxy)
    return Reply("".join(text), content_type=CONTENT_TYPE)
