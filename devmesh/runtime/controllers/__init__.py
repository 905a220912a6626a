"""What Kubernetes' controllers do: Deployments make ReplicaSets, which make Pods, and so on."""
