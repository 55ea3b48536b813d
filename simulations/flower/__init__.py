"""Flower's grids, its runtime, and the virtual devices inside it."""
