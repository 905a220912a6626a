"""Pods whose containers are plain local processes, in namespaces of their own."""
