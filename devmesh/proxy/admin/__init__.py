"""What a proxy tells of itself: Envoy's admin interface, and the ports of Istio's agent, in each pod.

A *command* is a path such as ``/stats``; it reads from a `View` of one proxy and gives a `Reply`.
"""
