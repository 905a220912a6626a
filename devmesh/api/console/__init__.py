"""The console's own API under /devmesh/v1/: the graph, events, requests, what the proxies are told."""
