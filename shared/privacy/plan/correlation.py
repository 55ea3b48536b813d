"""What the settings make of correlated noise: its matrix, and the limits it is computed for."""

from __future__ import annotations

from dataclasses import dataclass

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from shared.privacy.mechanisms.toeplitz import (
    BandedToeplitz,
    banded_square_root,
    most_participations,
)

_SLACK = 1 + 1e-9  # a share of users is a rounded product


@dataclass(frozen=True)
class Correlation:
    """Noise of `privacy.mechanism = dp_ftrl`, up to its size.

    Attributes
    ----------
    matrix : BandedToeplitz
    participations, separation : int
        Limits of one user.
    """

    matrix: BandedToeplitz
    participations: int
    separation: int

    def mechanism(self, noise_multiplier: float, clip: L2Clip) -> CorrelatedMechanism:
        """The mechanism of all rounds with noise multiplier z."""
        return CorrelatedMechanism(
            noise_multiplier, clip, self.matrix, self.participations, self.separation
        )

    def stated(self) -> dict[str, float]:
        """What a point states of it, and `starling verify` compares with the settings."""
        return {
            "bands": self.matrix.bands,
            "min_separation": self.separation,
            "max_participations": self.participations,
            "sensitivity": self.matrix.sensitivity(self.participations, self.separation),
        }


def correlation(config: ExperimentConfig, users: int) -> Correlation:
    """The noise matrix and limits of a point under dp_ftrl.

    Parameters
    ----------
    config : ExperimentConfig
        Of one point with a finite epsilon.
    users : int
        >= 1.

    Raises
    ------
    ConfigError
        If so large a cohort cannot be asked so rarely.
    """
    privacy, federation = config.privacy, config.federation
    separation = privacy.min_separation
    rounds = federation.fixed_rounds
    most = most_participations(rounds, separation, privacy.max_participations)
    expected = federation.expected_cohort(users)
    if expected * separation > users * _SLACK:
        raise ConfigError(
            f"federation.cohort = {federation.cohort:g} does not go with privacy.min_separation = "
            f"{separation}: of {users} users each round may ask at most {users / separation:.4g}; "
            "change one of them"
        )
    if expected * rounds > users * most * _SLACK:
        raise ConfigError(
            f"privacy.max_participations = {most} does not go with federation.rounds = "
            f"{rounds} and federation.cohort = {federation.cohort:g}: {users} users "
            f"would be asked {expected * rounds / users:.3g} times each; change one of "
            "them"
        )
    bands = min(privacy.bands or separation, rounds)
    # What flattens the noise is the square root of what the server does with the sums. Adam and
    # Yogi are not linear; prefix sums stand for them.
    momentum = federation.beta_1 if federation.server_optimizer == "fedavgm" else 0.0
    return Correlation(banded_square_root(rounds, bands, momentum), most, separation)
