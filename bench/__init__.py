"""Measures devmesh's data plane beside Envoy, HAProxy and nginx, on one machine, in alternating rounds."""
