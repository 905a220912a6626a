"""Network namespaces of pods and what is inside: links, rules that take traffic over, sockets.

A *fabric* is one namespace with a bridge that all pods of a mesh are plugged into; nobody but devmesh
holds it, so that nothing is left when the process ends, however it ends. Links and rules are written
as netlink messages: no ``ip``, ``nft`` or ``iptables`` is needed, and a pod is ready in milliseconds.
"""
