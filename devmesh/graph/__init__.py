"""The picture of the traffic: telemetry folded over a snapshot into Kiali's graph, and its health rules."""
