"""Who sees what of a person's contribution: the update itself, a sum of n, a sum with noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.guarantee import Guarantee
from shared.privacy.mechanisms.source import NoiseSource
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.summed import summed_form

Vector = npt.NDArray[np.float64]
Open = Callable[[npt.NDArray[np.floating], int], Vector]
"""What is seen of some people's contributions [n, dim]: with the number of a draw, none twice."""


@dataclass(frozen=True)
class View:
    """Who sees what of a person's contribution.

    Attributes
    ----------
    name : str
    people : int
        In the sum, the person included, >= 1.
    opened : callable
    promised : Guarantee or None
        To the person, against whoever has this view; None: nothing is.
    """

    name: str
    people: int
    opened: Open
    promised: Guarantee | None = None


def alone(rows: npt.NDArray[np.floating], draw: int) -> Vector:
    """The sum, exactly: of one person what they send, of several what a secure sum gives."""
    return np.asarray(rows.astype(np.float64).sum(0))


def noised(config: ExperimentConfig, people: int, kind: str) -> Open:
    """Sums as they are released under central trust, by the plan's own mechanism.

    Raises
    ------
    ConfigError
        If nothing of that kind is noised by the server.
    """
    plan = server_plan(config, people)
    if plan is None:
        raise ConfigError(f"release {kind!r}: the server adds no noise under these settings")
    mechanism = plan.planned(kind).mechanism

    def opened(rows: npt.NDArray[np.floating], draw: int) -> Vector:
        source = NoiseSource.seeded(config.seed, kind, "audit", draw)
        return np.asarray(mechanism.release(alone(rows, draw), source))

    return opened


def in_shares(config: ExperimentConfig, people: int, kind: str) -> Open:
    """Sums whose noise came in shares, as whoever opens a ring reads them."""
    form = summed_form(config, people, kind, 0.0, 0 if kind == "histogram" else 1)

    def opened(rows: npt.NDArray[np.floating], draw: int) -> Vector:
        messages = [
            form.encode(row, NoiseSource.seeded(config.seed, kind, "audit", draw, place))
            for place, row in enumerate(rows)
        ]
        return form.decode(reduce(form.ring.add, messages))

    return opened


def promised_inside(config: ExperimentConfig, people: int) -> Guarantee | None:
    """What is promised to a person who is in a sum for certain, against its readers.

    Nothing, where a guarantee rests on nobody's knowing who is in it.
    """
    plan = server_plan(config, people)
    if plan is None or plan.guarantee.unit != "user" or not math.isfinite(plan.guarantee.budget):
        return None
    sure = plan.guarantee.trust != "central" or plan.sampling_probability == 1
    return plan.guarantee if sure else None
