"""The words of the mesh: Identity, Host, Port, Workload, Instance, Service."""
