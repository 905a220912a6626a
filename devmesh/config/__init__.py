"""What users write: Kubernetes and Istio documents, read with line numbers, checked, stored, watched."""
