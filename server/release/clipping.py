"""The clip of each round: fixed by the settings, or following a private quantile."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from server.checkpoint import ServerState
from server.release.releases import Releasing
from shared.config import ExperimentConfig
from shared.privacy.contribution.units import quantile_rule
from shared.privacy.plan.summed import SummedForm

Vector = npt.NDArray[np.float64]


class RoundClip:
    """What a round's updates are clipped to, and how their sum is released.

    Parameters
    ----------
    config : ExperimentConfig
        The settings of one point.
    state : ServerState
        Keeps the clipping norms over restarts; advanced in place.
    """

    def __init__(self, config: ExperimentConfig, state: ServerState) -> None:
        self._rule = quantile_rule(config)
        self._state = state
        if self._rule and not state.clips:
            state.clips = [self._rule.start]

    @property
    def adapted(self) -> float:
        """The norm C_t of the coming round, which is public; 0 where the settings fix it."""
        return self._state.clips[-1] if self._rule else 0.0

    def completed(self, rounds: int) -> None:
        """Up to this round; one that a crash lost after it was counted left the norm as it was."""
        if self._rule is None:
            return
        state = self._state
        while len(state.bits) < rounds:
            state.bits.append(None)
            state.clips.append(state.clips[-1])

    def release(
        self,
        releases: Releasing,
        total: Vector,
        bits: float,
        expected: float,
        round_number: int,
        form: SummedForm | None = None,
    ) -> Vector:
        """The noised sum of updates [dim], and the next round's norm from the noised bits.

        Parameters
        ----------
        releases : Releasing
        total : float64 [dim]
            Sum of updates clipped to C_t.
        bits : float
            Sum of their bits.
        expected : float
            Expected cohort.
        round_number : int
        form : SummedForm, optional
            Of a sum in a ring: what is released of it is read modulo the ring.
        """
        if self._rule is None:
            released = releases.release("update", total, round_number)
            return form.fold(released) if form else released
        norm = self.adapted
        # In units of C_t: then the sensitivity, and so the mechanism, is the same in every round.
        released = releases.release("update", np.append(total / norm, bits), round_number)
        counted = float(released[-1])
        counted = form.fold_bits(counted) if form else counted
        self._state.bits.append(counted)
        self._state.clips.append(self._rule.next(norm, counted, expected))
        update: Vector = released[:-1] * norm
        return form.fold(update) if form else update
