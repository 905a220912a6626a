"""The data plane: sockets, TLS and bytes. Decisions are `devmesh.traffic`'s and `devmesh.security`'s.

A *reactor* moves bytes between *connections* and tells their *owners*. What *arrives* is looked up in the
snapshot in force and becomes a *tunnel* of opaque bytes, or an `HttpServer` whose requests are *exchanges*
with *upstreams*. A *side* says how: the client's (`outbound`, gateways too) or the server's (`inbound`).
The *plane* is what they all share; the *engine* is the part of the mesh that the rest sees.
"""
