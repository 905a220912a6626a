"""The storm: a mesh under load while its rules, its replicas and its scale change without a pause.

`requests` are what is asked; a `plans.Plan` is one version of a routing resource, which knows its YAML and
which answers are right under it; `changes` draws them at random; `judge` compares each answer with the
versions that were in force while it ran; `run` brings it all together.
"""
