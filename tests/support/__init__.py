"""Small worlds, a tiny backbone and one-call federations that several tests share."""

from pathlib import Path

ROOT = Path(__file__).parents[2]  # of the checkout
