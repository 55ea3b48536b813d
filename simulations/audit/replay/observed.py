"""What whoever runs a replay sees of it, without a look inside server or device."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from dp_accounting import DpEvent

from shared.config import ExperimentConfig
from shared.model.adapter import AdapterSchema
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.plan import Plan
from simulations.audit.canaries import Canaries

Vector = npt.NDArray[np.float64]
Events = Sequence[tuple[DpEvent, int]]
"""What happened, as an accountant counts it, and how often each."""

TRAINING = "training"
"""Of a release that is a row of all rounds' mechanism, whose noise is correlated over rounds."""

_NONE = np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Exchange:
    """One question of the server, and what answered it before anything touched that.

    Attributes
    ----------
    kind : str
        The ledger's word: "update", "histogram", "moments" or "metrics"; or `TRAINING`.
    round : int
        0 before the first.
    asked : tuple of int
        Keys of people.
    members : tuple of int
        Keys of those who answered.
    contributions : float32 [members, dim]
        Where messages hold noise of their own, what they were made of: known of canaries alone.
    known : bool
        Whether `contributions` are everybody's.
    start : float32 [dim]
        All that was sent down, one tensor after the other; empty where nothing was.
    directions : float32 [m, dim]
        What each canary adds if it is in; empty where that is the worst there is: as far as the
        clip, along its own coordinate.
    """

    kind: str
    round: int
    asked: tuple[int, ...]
    members: tuple[int, ...]
    contributions: npt.NDArray[np.float32]
    known: bool
    start: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32] = field(default_factory=lambda: _NONE)

    @property
    def name(self) -> str:
        """Such as "update of round 3"."""
        return f"{self.kind} of round {self.round}" if self.round else self.kind


@dataclass(frozen=True, eq=False)
class Release:
    """One sum over people as it was released.

    Attributes
    ----------
    exchange : Exchange
        What was asked for it.
    vector : float64 [dim]
        In the units of contributions.
    deviation : float
        Standard deviation of the noise that the plan claims for each number.
    limit : float
        L2 norm that one contribution may have.
    rounding : float
        How far each number may be off by what it was computed and kept in.
    reach : float64 [m] or None
        What each canary adds along its own coordinate if it is in, where it was asked; None: as
        much as the limit.
    """

    exchange: Exchange
    vector: Vector
    deviation: float
    limit: float
    rounding: float = 0.0
    reach: Vector | None = None

    @cached_property
    def rest(self) -> Vector:
        """What was released beyond the sum of what was sent [dim]: noise, and nothing else."""
        rest: Vector = self.vector - self.exchange.contributions.astype(np.float64).sum(0)
        return rest

    @cached_property
    def span(self) -> Vector:
        """Orthonormal columns [dim, k] that span what was sent; none where that is everything."""
        sent = self.exchange.contributions.astype(np.float64)
        sent = sent[np.abs(sent).sum(1) > 0]
        dim = len(self.vector)
        if not len(sent) or len(sent) > dim // 2:
            return np.zeros((dim, 0))
        columns: Vector = np.linalg.qr(sent.T)[0]
        return columns

    @cached_property
    def apart(self) -> Vector:
        """`rest` without all that weights of contributions could have added to it [dim]."""
        apart: Vector = self.rest - self.span @ (self.span.T @ self.rest)
        return apart

    @property
    def freedom(self) -> int:
        """In how many directions `apart` may lie."""
        return len(self.vector) - int(self.span.shape[1])

    @cached_property
    def found(self) -> float:
        """Standard deviation of the noise that is there, as far as weights do not hide it."""
        return math.sqrt(float(self.apart @ self.apart) / max(self.freedom, 1))

    @cached_property
    def standardised(self) -> Vector:
        """`apart` [dim], every number in units of what its noise is claimed to be."""
        kept = 1 - (self.span**2).sum(1)  # of the variance of a coordinate
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Vector = self.apart / (self.deviation * np.sqrt(kept))
        found[kept < 0.05] = 0.0
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Sums(ABC):
    """Sums over people as they were released, and what is claimed of them.

    Attributes
    ----------
    users : int
        Size of the population.
    schema : AdapterSchema
        Of what rounds sum.
    canaries : Canaries or None
    histories : dict of int to int
        Interactions of every person, by key.
    releases : tuple of Release
    moved : float64 [dim]
        From the first iterate to the released adapter, in the coordinates of sums; empty where that
        is not known.
    told : mapping
        What files tell of the run, with all their numbers.
    """

    users: int
    schema: AdapterSchema
    canaries: Canaries | None
    histories: Mapping[int, int]
    releases: tuple[Release, ...]
    moved: Vector
    told: Mapping[str, Any]

    @property
    @abstractmethod
    def promised(self) -> Guarantee | None:
        """What is promised to a person by whoever adds noise to the sums; None: nothing."""

    @property
    @abstractmethod
    def sampled(self) -> bool:
        """Whether cohorts are claimed to be Poisson samples, or everyone."""

    @property
    @abstractmethod
    def events(self) -> Events:
        """What the claim says that happened; nothing where it is not told."""

    @abstractmethod
    def expected(self, kind: str) -> float:
        """People expected in a sum of a kind."""

    def of(self, kind: str) -> list[Release]:
        """Releases of a kind, in order."""
        return [each for each in self.releases if each.exchange.kind == kind]


@dataclass(frozen=True, eq=False, kw_only=True)
class Observed(Sums):
    """One replay.

    Attributes
    ----------
    config : ExperimentConfig
        Of the point.
    plan : Plan or None
        Of the server's guarantee, which follows from settings and population.
    device : Plan or None
        Of each device's own.
    exchanges : tuple of Exchange
        In the order in which they happened.
    ledger : Ledger or None
    public : mapping
        What is told of the run by file, without numbers that noise is in.
    liked : float64 [m] or None
        By how much more the released model likes each canary's window than the public start does,
        as a log-likelihood; None where canaries have no windows of their own.
    """

    config: ExperimentConfig
    plan: Plan | None
    device: Plan | None
    exchanges: tuple[Exchange, ...]
    ledger: Ledger | None
    public: Mapping[str, Any]
    liked: Vector | None = None

    @property
    def promised(self) -> Guarantee | None:
        """As planned."""
        return self.plan.guarantee if self.plan else None

    @property
    def sampled(self) -> bool:
        """Where there is a plan, and rounds' noise is not correlated."""
        return self.plan is not None and self.plan.correlation is None

    @property
    def events(self) -> Events:
        """As planned."""
        plan = self.plan or self.device
        return [(planned.event, planned.times) for planned in plan.releases] if plan else []

    def expected(self, kind: str) -> float:
        """By the settings."""
        federation = self.config.federation
        expected = {
            "update": federation.expected_cohort,
            TRAINING: federation.expected_cohort,
            "metrics": federation.expected_metrics_cohort,
        }
        return expected.get(kind, federation.expected_popularity_cohort)(self.users)
