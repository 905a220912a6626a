"""What runs and where: pods of containers or processes, network namespaces, interception, DNS, probes."""
