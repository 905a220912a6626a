"""DNS for pods: the mesh's names from the snapshot, all others from the pod's own resolver.

Queries are redirected to sockets inside each pod's namespace; one server answers on all of them.
`message` reads and writes packets, `directory` knows the names, `forward` asks others, `server` listens.
"""
