"""A federated run as its folder tells of it: what is claimed, and what happened round by round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from shared.privacy.guarantee import Guarantee, Relation
from simulations.audit.canaries import Canaries
from simulations.audit.replay.observed import Vector

Released = Literal["sum", "mean", "model"]
Weights = Literal["equal", "examples"]

_ADVERSARY = (
    "anyone who sees every release and the claimed parameters{}; the server itself receives each "
    "client's own update and must be trusted with them"
)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise as it is claimed, in one of two ways.

    Attributes
    ----------
    multiplier : float or None
        Standard deviation on the sum, over the clipping norm; >= 0.
    deviation : float or None
        Standard deviation of each number; >= 0.
    of : {"sum", "mean"}
        What has that deviation.
    """

    multiplier: float | None
    deviation: float | None
    of: Literal["sum", "mean"] = "sum"


@dataclass(frozen=True)
class Sampling:
    """Who is asked in a round.

    Attributes
    ----------
    kind : {"everyone", "poisson", "fixed"}
    probability : float
        In (0, 1]: of each client, independently; for "poisson".
    cohort : int
        >= 1: as many as are drawn without replacement; for "fixed".
    """

    kind: Literal["everyone", "poisson", "fixed"]
    probability: float = 1.0
    cohort: int = 1


@dataclass(frozen=True)
class Claim:
    """The mechanism, as whoever ran it describes it.

    Attributes
    ----------
    relation : {"zero_out", "replace_one"}
        Of a client, who is the unit.
    clipping_norm : float
        > 0, L2, of one client's update.
    noise : Noise
    clients : int
        >= 1: how many there are.
    sampling : Sampling
    rounds : int
        >= 1.
    weights : {"equal", "examples"}
        What aggregation multiplies an update by.
    delta : float
        In (0, 1).
    epsilon : float
        > 0; infinity where none is claimed.
    accountant : str
        Its name, for the reader; may be empty.
    """

    relation: Relation
    clipping_norm: float
    noise: Noise
    clients: int
    sampling: Sampling
    rounds: int
    weights: Weights
    delta: float
    epsilon: float
    accountant: str = ""

    @property
    def cohort(self) -> float:
        """Clients expected in a round."""
        if self.sampling.kind == "fixed":
            return float(self.sampling.cohort)
        return self.clients * self.sampling.probability

    @property
    def guarantee(self) -> Guarantee:
        """What is promised to each client."""
        unseen = "" if self.sampling.kind == "everyone" else ", but not who was sampled"
        adversary = _ADVERSARY.format(unseen)
        return Guarantee("user", self.relation, "central", adversary, self.delta, 1, self.epsilon)

    def deviation(self, divisor: float) -> float:
        """Claimed standard deviation on the sum of a round whose mean was divided so."""
        if self.noise.multiplier is not None:
            return self.noise.multiplier * self.clipping_norm
        return (self.noise.deviation or 0.0) * (divisor if self.noise.of == "mean" else 1.0)


@dataclass(frozen=True, eq=False)
class Round:
    """What is known of one round; None where it is not.

    Attributes
    ----------
    number : int
        >= 1.
    asked, members : tuple of str or None
        Who was sampled, and whose updates are in the aggregate.
    examples : tuple of int or None
        Of each member.
    sent, clipped : float32 [members, dim] or None
        Updates as they reached the server, and as they went into the aggregate.
    start, released : float64 [dim] or None
        The model that went down, and what came of the round.
    rounding : float
        Relative, of the numbers that were released.
    """

    number: int
    asked: tuple[str, ...] | None
    members: tuple[str, ...] | None
    examples: tuple[int, ...] | None
    sent: npt.NDArray[np.float32] | None = None
    clipped: npt.NDArray[np.float32] | None = None
    start: Vector | None = None
    released: Vector | None = None
    rounding: float = 0.0


@dataclass(frozen=True, eq=False)
class ForeignRun:
    """A folder in the format of docs/audit-foreign.md.

    Attributes
    ----------
    name : str
    claim : Claim
    released : {"sum", "mean", "model"}
        What a round's `released` is.
    divisor : float or None
        What a sum was divided by; None: how many members there were.
    tensors : tuple of (str, int)
        Names and sizes of what updates are made of, in their order; empty where not told.
    rounds : tuple of Round
        In order.
    clients : mapping of str to int
        A number for everybody who is named.
    canaries : Canaries or None
        By those numbers.
    digests : mapping of str to str
        SHA-256 (hex) of each file that was read, by its name in the folder.
    """

    name: str
    claim: Claim
    released: Released
    divisor: float | None
    tensors: tuple[tuple[str, int], ...]
    rounds: tuple[Round, ...]
    clients: Mapping[str, int]
    canaries: Canaries | None
    digests: Mapping[str, str]
