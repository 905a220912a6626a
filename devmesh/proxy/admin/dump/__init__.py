"""A proxy's configuration in Envoy's own shape, as ``/config_dump`` has it and istioctl reads it.

It is made from what devmesh's proxy decides by, under the names that Istio gives these things. What has no
counterpart in devmesh (filters for telemetry, ALPN and the like) is not there.
"""
