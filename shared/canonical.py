"""Canonical JSON, and the digest of a text."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any


def canonical_json(tree: Any) -> str:
    """One text for one value: sorted keys, no spaces, ASCII; infinity as the string "inf".

    Parameters
    ----------
    tree : nested dict, list, tuple, str, int, float, bool, None

    Raises
    ------
    ValueError
        For NaN or negative infinity.
    """
    return json.dumps(
        finite(tree), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def finite(tree: Any) -> Any:
    """The same value with infinity as the string "inf", which JSON can hold."""
    if isinstance(tree, dict):
        return {key: finite(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [finite(value) for value in tree]
    return "inf" if isinstance(tree, float) and tree == math.inf else tree


def policy_digest(policy: str) -> str:
    """SHA-256 (64 hexadecimal digits) of a signed policy's text: what a reply says it is under."""
    return hashlib.sha256(policy.encode()).hexdigest()
