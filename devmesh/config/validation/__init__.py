"""Whether a resource makes sense by itself, by Kubernetes' rules and those of Istio's webhook."""
