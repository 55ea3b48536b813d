"""`starling doctor`: what this machine has, what is missing, and what to do about it."""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Run."""
    return 0
