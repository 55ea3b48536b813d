"""Aggregation rules, one file each, one small interface."""
