"""One lifetime budget: every day's sum is one event of it, on the ledger before there is noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.privacy.accounting.accountant import calibrate
from shared.privacy.contribution.feedback import FEEDBACK_CLIP, feedback_scale, feedback_sums
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.ledger import Ledger, LedgerHeader
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource

Array = NDArray[np.float64]

KIND = "feedback"  # the ledger's word


def mechanism_of(guarantee: Guarantee, days: int) -> GaussianMechanism:
    """The least noise with which so many daily sums of everybody stay within the budget.

    Raises
    ------
    ConfigError
        For a budget out of reach.
    """
    return GaussianMechanism(calibrate(guarantee, days, 1.0).noise_multiplier, FEEDBACK_CLIP)


class Lifetime:
    """The ledger of one point, and what noises its sums.

    Parameters
    ----------
    file : Path
        A new ledger.
    guarantee : Guarantee
    days : int
        Releases that are planned, all of them admitted at once.
    settings : str
        Hash of the point's settings.
    seed : int
        Of simulated noise.
    """

    def __init__(
        self, file: Path, guarantee: Guarantee, days: int, settings: str, seed: int
    ) -> None:
        self.mechanism = mechanism_of(guarantee, days)
        self.ledger = Ledger.create(file, LedgerHeader(guarantee, settings))
        self._settings, self._seed = settings, seed
        self._event = self.mechanism.event(1.0)
        self.ledger.admit([(KIND, self._event, days)])

    def release(self, day: int, total: Array) -> Array:
        """The noised sum of a day's contributions, [2 items].

        Raises
        ------
        BudgetExceeded, LedgerError
            Nothing was released.
        """
        self.ledger.append(day, KIND, self._event)
        source = NoiseSource.seeded(self._seed, KIND, self._settings, day)
        return self.mechanism.release(total, source)

    def sums(self, released: Array, looked_at: Array) -> tuple[Array, Array]:
        """N and S [2, items] of a release, and the variances [2] of the noise in them."""
        sd = self.mechanism.standard_deviation * feedback_scale(looked_at)
        return feedback_sums(released, looked_at), sd**2
