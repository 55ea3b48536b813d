"""Processes beside the command's own, here or on a cluster, that compute shards of its work."""
