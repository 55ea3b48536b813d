"""`starling evaluate --off-policy` from Python: what a policy is worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulations.api.words import in_python

if TYPE_CHECKING:
    from simulations.offpolicy.value import Valued


def value_policy(log: str | Path, policy: str = "uniform", temperature: float = 1.0) -> Valued:
    """The value of a policy by five estimators, with 95% intervals and what they rest on.

    Parameters
    ----------
    log : str or Path
        A table with `item`, `propensity`, `click`, and more where there is (docs/off-policy.md).
    policy : str
        `uniform`, `popularity`, another log of the same items, or an adapter's file.
    temperature : float
        That an adapter's scores are divided by, > 0; a small one shows its best items only.

    Returns
    -------
    Valued
        `estimates["dr"].value`, `.low`, `.high` and so on; `warnings` says where not to rely on it.

    Raises
    ------
    DataError, ConfigError, ModelError
        For a mistake in a log, a policy or its file.
    """
    with in_python():
        from simulations.offpolicy import named_policy, read_feedback, value_of

        read = read_feedback(Path(log))
        return value_of(named_policy(policy, read, temperature), read)
