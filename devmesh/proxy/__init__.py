"""The data plane: sockets, TLS and bytes. Decisions are `devmesh.traffic`'s and `devmesh.security`'s."""
