"""The life of one pod: its containers, probes, volumes, logs, status; what a kubelet does."""
