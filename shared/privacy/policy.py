"""Canonical JSON, the hash of the settings under which data were used, and of a policy's text."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import Any

from shared.config import ExperimentConfig, to_dict

# What the model is trained on, how, and under which guarantee. The engine changes speed only; the
# sweep and the reference points are other runs.
_BOUND = ("data", "world", "model", "train", "federation", "privacy", "seed")


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
        _plain(tree), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def policy_hash(config: ExperimentConfig) -> str:
    """SHA-256 of one point's settings, as the ledger's header states it.

    Parameters
    ----------
    config : ExperimentConfig
        Of the point itself: `experiment.at_epsilon(epsilon, seed)`.

    Returns
    -------
    str
        64 hexadecimal digits. Equal settings give equal hashes, whatever the engine.
    """
    tree = to_dict(dataclasses.replace(config, private={}))
    bound = {section: tree[section] for section in _BOUND}
    return hashlib.sha256(canonical_json(bound).encode()).hexdigest()


def policy_digest(policy: str) -> str:
    """SHA-256 (64 hexadecimal digits) of a signed policy's text: what a reply says it is under."""
    return hashlib.sha256(policy.encode()).hexdigest()


def _plain(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    if isinstance(tree, float) and tree == math.inf:
        return "inf"
    return tree
