"""Who calls whom, how often and how well: telemetry folded over a snapshot, by Kiali's rules of health."""
