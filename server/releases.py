"""The only way from an exact sum to a released one: record, flush, then add noise.

Central trust: this code sees exact sums, and a device's guarantee rests on trusting it.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
from dp_accounting import DpEvent

from shared.config import ExperimentConfig
from shared.errors import ConfigError
from shared.privacy.accountant import Calibration, calibrate, default_delta
from shared.privacy.chain import LedgerHeader
from shared.privacy.clipping import L2Clip
from shared.privacy.histogram import HISTOGRAM_CLIP
from shared.privacy.ledger import Ledger
from shared.privacy.mechanism import GaussianMechanism
from shared.privacy.noise import NoiseSource
from shared.privacy.policy import policy_hash

Vector = npt.NDArray[np.float64]

ADVERSARY = (
    "anyone who sees every released adapter and the settings, but not which users were sampled; "
    "the server itself is trusted with exact sums"
)


def check_delta(delta: float | None, users: int) -> None:
    """Refuse a delta under which publishing one person outright would be allowed.

    Raises
    ------
    ConfigError
        If it is above one over the users.
    """
    if delta is not None and delta > 1 / users:
        raise ConfigError(
            f"privacy.delta = {delta:g}: at most 1/{users} = {1 / users:.2g}, one over "
            "the users; above that, publishing one person outright would be allowed"
        )


class Releases:
    """Mechanisms, ledger and noise of one point.

    Parameters
    ----------
    config : ExperimentConfig
    users : int
        Size of the population, >= 1: public.
    sampling_probability : float
        q in (0, 1].
    ledger_file : Path
        Created, or continued if it exists.
    simulated : bool
        True seeds the noise (reproducible, worthless against an attacker); False takes it from the
        operating system's secure generator.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        users: int,
        sampling_probability: float,
        ledger_file: Path,
        simulated: bool,
    ) -> None:
        privacy = config.privacy
        check_delta(privacy.delta, users)
        self.private = math.isfinite(privacy.epsilon)
        self.delta = privacy.delta if privacy.delta is not None else default_delta(users)
        self.sampling_probability = sampling_probability
        self.calibration: Calibration = calibrate(
            privacy.epsilon,
            self.delta,
            config.federation.rounds,
            sampling_probability,
            privacy.relation,
            privacy.histogram_share if config.federation.popularity_start else 0.0,
        )
        self.clip_norm = privacy.clipping_norm if self.private else None
        self._seed = config.seed if simulated else None
        clip = L2Clip(privacy.clipping_norm)
        self._update = GaussianMechanism(self.calibration.noise_multiplier, clip)
        self.histogram_noise = self.calibration.histogram_noise_multiplier or 0.0
        self._histogram = GaussianMechanism(self.histogram_noise, HISTOGRAM_CLIP)
        self.ledger = self._open(config, ledger_file)

    def _open(self, config: ExperimentConfig, file: Path) -> Ledger:
        policy = policy_hash(config)
        if file.exists():
            ledger = Ledger.recover(file)
            if ledger.header.policy != policy:
                raise ConfigError(
                    f"{file}: was written under other settings; use another --out, or the old "
                    "settings to resume"
                )
        else:
            header = LedgerHeader(
                unit=config.privacy.unit,
                relation=config.privacy.relation,
                trust=config.privacy.trust,
                adversary=ADVERSARY,
                delta=self.delta,
                budget=config.privacy.epsilon,
                policy=policy,
            )
            ledger = Ledger.create(file, header)
        self._admit(ledger, config)
        return ledger

    def _admit(self, ledger: Ledger, config: ExperimentConfig) -> None:
        """Check everything that is still to come against the budget before any of it happens."""
        recorded = Counter(entry.release for entry in ledger.entries)
        rounds = config.federation.rounds - recorded["update"]
        plan = [("update", self._update.event(self.sampling_probability), max(rounds, 0))]
        if config.federation.popularity_start and not recorded["histogram"]:
            plan.append(("histogram", self._histogram.event(1.0), 1))
        ledger.admit(plan)

    @property
    def histogram_spent(self) -> bool:
        """Whether a histogram was recorded whose release must not be repeated with fresh noise."""
        recorded = any(entry.release == "histogram" for entry in self.ledger.entries)
        return recorded and self._seed is None

    @property
    def last_round(self) -> int:
        """The last round whose update was recorded; 0 before the first."""
        rounds = [entry.round for entry in self.ledger.entries if entry.release == "update"]
        return max(rounds, default=0)

    def position(self) -> tuple[int, str]:
        """Length and head of the ledger."""
        return self.ledger.position()

    def histogram(self, total: Vector) -> Vector:
        """The popularity histogram [items], noised; every user takes part."""
        return self._release("histogram", self._histogram, total, 0, 1.0)

    def update(self, total: Vector, round_number: int) -> Vector:
        """The sum of a round's clipped updates [dim], noised."""
        return self._release("update", self._update, total, round_number, self.sampling_probability)

    def _release(
        self, kind: str, mechanism: GaussianMechanism, total: Vector, round_number: int, q: float
    ) -> Vector:
        event = mechanism.event(q)
        if not self._replayed(round_number, kind, event):
            self.ledger.append(round_number, kind, event)  # on disk when this returns
        return mechanism.release(total, self._noise(kind, round_number))

    def _replayed(self, round_number: int, kind: str, event: DpEvent) -> bool:
        # A simulation interrupted between ledger and checkpoint repeats the round with the same
        # cohort and the same seeded noise: the same value again, which costs nothing more. Fresh
        # noise would be a second release.
        return self._seed is not None and self.ledger.holds(round_number, kind, event)

    def _noise(self, kind: str, round_number: int) -> NoiseSource:
        if self._seed is None:
            return NoiseSource.secure()
        # The policy is part of the key: two points of a sweep must not share a draw, or their
        # difference would be free of noise.
        return NoiseSource.seeded(self._seed, self.ledger.header.policy, kind, round_number)
