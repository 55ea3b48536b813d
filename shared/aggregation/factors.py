"""The factors of LoRA pairs among an adapter's tensors, by name.

A layer's correction is s B A x, or s B R A x where it has a core: A [r, in] reads down to r
numbers, R [r, r] turns them, B [out, r] writes them up.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_DOWN = re.compile(r"\.lora_A\.[^.]+\.weight$")
_UP = re.compile(r"\.lora_B\.[^.]+(\.up)?\.weight$")
_ITEM_UP = re.compile(r"^item_(up|down)\.weight$")
_CORE = re.compile(r"\.lora_B\.[^.]+\.core\.weight$")


def downs(names: Sequence[str]) -> tuple[str, ...]:
    """The factors A."""
    return tuple(name for name in names if _DOWN.search(name))


def ups(names: Sequence[str]) -> tuple[str, ...]:
    """The factors B."""
    return tuple(name for name in names if _UP.search(name))


def cores(names: Sequence[str]) -> tuple[str, ...]:
    """The cores R."""
    return tuple(name for name in names if _CORE.search(name))


def item_ups(names: Sequence[str]) -> tuple[str, ...]:
    """What turns the item table's r numbers of an item into a vector, and a state into r numbers.

    They are B and B' of the correction B A; the numbers of the items, its A, are `item_in`.
    """
    return tuple(name for name in names if _ITEM_UP.search(name))


def item_readers(names: Sequence[str]) -> tuple[str, ...]:
    """What turns a state into the r numbers that meet an item's: its B'."""
    return tuple(name for name in names if name == "item_down.weight")


def pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names of (A, B) of every layer."""
    return list(zip(downs(names), ups(names), strict=True))
