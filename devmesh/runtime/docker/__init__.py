"""Pods as containers of a Docker engine: a holder owns the network namespace, the containers join it."""
