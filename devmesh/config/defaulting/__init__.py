"""The values that Kubernetes' API server fills in where a document leaves them out."""
