"""The Gateway API: its Gateways and routes become Istio's, and their status says what became of them.

A *parent* is what routes attach to: a listener of a Gateway or ListenerSet, or a Service or ServiceEntry of
the mesh. Each listener becomes a Gateway with one server, and all routes of one host at one parent a
VirtualService; from there on they are compiled like Istio's own.
"""
