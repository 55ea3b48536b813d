"""Interaction logs: schema, time split, training windows, sources."""
