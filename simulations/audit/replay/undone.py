"""Correlated noise taken apart again: what is released of a training as one Gaussian mechanism.

    row t of C X + z sens(C) clip Z  =  sum over j of c_j release_{t-j}

has independent noise in every row, of one deviation. Everyone who took part in these rounds adds as
much as their parts weighted alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from simulations.audit.canaries import Canaries
from simulations.audit.replay.observed import TRAINING, Exchange, Release, Vector

_Round = tuple[float, Release]


def undone(
    releases: Sequence[Release], mechanism: CorrelatedMechanism, canaries: Canaries
) -> list[Release]:
    """Rows of the mechanism, of those rounds for which all that it takes was released.

    Parameters
    ----------
    releases : sequence of Release
        Those that are no sums of updates are passed over.
    mechanism : CorrelatedMechanism
        As planned.
    canaries : Canaries
        Whose reach in a row is what all their parts are if they are in and asked.
    """
    by = {each.exchange.round: each for each in releases if each.exchange.kind == "update"}
    found = []
    for number in sorted(by):
        back = list(zip(mechanism.matrix.coefficients, range(number, 0, -1), strict=False))
        if all(at in by for _, at in back):
            rounds = [(weight, by[at]) for weight, at in back]
            found.append(_row(number, rounds, mechanism, canaries))
    return found


def _row(
    number: int, rounds: list[_Round], mechanism: CorrelatedMechanism, canaries: Canaries
) -> Release:
    vector: Vector = np.sum([weight * each.vector for weight, each in rounds], axis=0)
    members = sorted({key for _, each in rounds for key in each.exchange.members})
    place = {key: at for at, key in enumerate(members)}
    sent = np.zeros((len(members), len(vector)), dtype=np.float32)
    reach = np.zeros(len(canaries.keys))
    for weight, each in rounds:
        exchange = each.exchange
        if members and len(exchange.members):
            sent[[place[key] for key in exchange.members]] += weight * exchange.contributions
        reach += weight * each.limit * np.isin(canaries.keys, exchange.members)
    asked = tuple(sorted({key for _, each in rounds for key in each.exchange.asked}))
    known = all(each.exchange.known for _, each in rounds)
    start = np.zeros(0, dtype=np.float32)
    exchange = Exchange(TRAINING, number, asked, tuple(members), sent, known, start)
    rounding = sum(weight * each.rounding for weight, each in rounds)
    claimed = mechanism.noise_multiplier * mechanism.sensitivity * mechanism.clip.norm
    return Release(exchange, vector, claimed, math.inf, rounding, reach)
