"""JSON: read from anyone, written in one way; and the digest of a text."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any

from shared.printable import printable


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


def document(tree: Any) -> str:
    """What a command prints under `--json`: one strict document, indented.

    Infinity is the string "inf"; a figure that is none (NaN) is null.

    Parameters
    ----------
    tree : as for `canonical_json`, in the order in which it is read
    """
    return json.dumps(_figures(finite(tree)), indent=2, allow_nan=False)


def _figures(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _figures(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_figures(value) for value in tree]
    return None if isinstance(tree, float) and math.isnan(tree) else tree


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text that may come from anyone.

    Raises
    ------
    ValueError
        If it is none, or holds what readers stumble over: a number that is not finite or, whole,
        2^53 or more, or a nesting deeper than 50.
    """
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError(_DEEP) from None
    check_plain(value)
    return value


def check_plain(tree: Any, depth: int = 50) -> None:
    """Refuse what `read_json` does, in nested values that were read otherwise; infinity may be.

    Raises
    ------
    ValueError
    """
    if isinstance(tree, dict | list):
        if not depth:
            raise ValueError(_DEEP)
        for each in [*tree, *tree.values()] if isinstance(tree, dict) else tree:
            check_plain(each, depth - 1)
    elif isinstance(tree, int) and abs(tree) >= LARGEST:
        raise ValueError("holds a whole number beyond 2^53, which no setting or count has")
    elif isinstance(tree, str) and not _is_text(tree):
        raise ValueError(f"holds {printable(tree)}, which is no UTF-8 text; rename it")


def _is_text(text: str) -> bool:
    """Whether it can be written; half a surrogate pair stands for a byte of a file's name."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"holds {text[:20]}, which is no finite number")
    return value


LARGEST = 2**53
"""Whole numbers beyond it are not exact as floats, and far beyond it no floats at all."""
_DEEP = "nested deeper than 50 times"


def policy_digest(policy: str) -> str:
    """SHA-256 (64 hexadecimal digits) of a signed policy's text: what a reply says it is under."""
    return hashlib.sha256(policy.encode()).hexdigest()
