"""Kubernetes' resource API over the store: a target is what a URL names, an answer what goes back."""
