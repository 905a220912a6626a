"""EnvoyFilters whose shape is known: the local and global rate limits of Istio's tasks.

A *patch* is one entry of ``configPatches``. Those that are recognised become a part of a listener's
`Limiting` or of a route's `RouteLimits`; whatever else stands in them is told.
"""
