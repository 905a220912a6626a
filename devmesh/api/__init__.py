"""HTTP in front of the mesh: the Kubernetes-style API, the console's API and events, the built UI."""
