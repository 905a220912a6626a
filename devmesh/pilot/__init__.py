"""Steering: compiles resources and instances into a Snapshot, and says which of them had no effect."""
