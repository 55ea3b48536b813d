"""Who sees what of a replay: threat models, and how far each canary seems to be in to them."""

from simulations.audit.threats.seen import ALL_ROUNDS, BLACK_BOX, FINAL, MESSAGES, OPENED, views

__all__ = ["ALL_ROUNDS", "BLACK_BOX", "FINAL", "MESSAGES", "OPENED", "views"]
