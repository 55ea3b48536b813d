"""One of epsilon, noise, rounds and sampling from the other three, where all rounds are alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from dp_accounting import DpEvent
from scipy.stats import binom

from shared.errors import NO_BUDGET, ConfigError
from shared.privacy.accounting.accountant import check_resolved, default_delta, epsilon
from shared.privacy.accounting.search import MOST_ROUNDS, largest_sampling, least_noise, most_rounds
from shared.privacy.accounting.steps import Step
from shared.privacy.guarantee import Relation


@dataclass(frozen=True)
class Rounds:
    """Rounds of one Gaussian release each.

    Parameters
    ----------
    noise_multiplier : float
        z > 0, relative to the clipping norm.
    rounds : int
        From 1 to a million.
    sampling_probability : float
        q in (0, 1]: with which each unit, independently, is in a round.
    relation : {"zero_out", "replace_one"}
    group : int
        Units that are protected together, >= 1.

    Raises
    ------
    ConfigError
        For a value outside its range.
    """

    noise_multiplier: float
    rounds: int
    sampling_probability: float
    relation: Relation = "zero_out"
    group: int = 1

    def __post_init__(self) -> None:
        if not 1e-3 <= self.noise_multiplier <= 1e6:
            raise ConfigError(f"noise = {self.noise_multiplier}: expected a number, 1e-3 to 1e6")
        if not 1 <= self.rounds <= MOST_ROUNDS:
            why = "" if self.rounds else "; what is released once, without rounds, counts as 1"
            raise ConfigError(f"rounds = {self.rounds}: expected 1 to {MOST_ROUNDS:,}{why}")
        if not 0 < self.sampling_probability <= 1:
            raise ConfigError(
                f"sampling = {self.sampling_probability}: expected a number in (0, 1]"
            )

    def history(self) -> list[tuple[DpEvent, int]]:
        """All rounds, as accountants take them."""
        event = Step(self.noise_multiplier, self.sampling_probability, 1).event()
        return [(event, self.rounds)]

    def epsilon(self, delta: float) -> float:
        """By PLD: against those who never learn who was in a round."""
        return epsilon(self.history(), delta, self.relation, self.group)

    def epsilon_taking_part(self, times: int, delta: float) -> float:
        """Of a unit that is known to have been in that many of the rounds: nothing amplifies.

        Against one who sees who takes part, rounds without the unit cost it nothing.
        """
        if times == 0:
            return 0.0
        return replace(self, rounds=times, sampling_probability=1.0).epsilon(delta)


@dataclass(frozen=True)
class Known:
    """What is known of rounds before one figure of them is found.

    Parameters are those of `Rounds`; None for that one.
    """

    noise_multiplier: float | None = None
    rounds: int | None = None
    sampling_probability: float | None = None
    relation: Relation = "zero_out"
    group: int = 1


def solve(known: Known, target: float, delta: float) -> Rounds:
    """The one parameter that is left out, such that the rounds just meet a target.

    Parameters
    ----------
    known : Known
        Found are the least noise, the most rounds or the largest probability.
    target : float
        Epsilon >= 1e-3, finite.
    delta : float
        In [1e-14, 1).

    Returns
    -------
    Rounds
        Its epsilon is at most the target.

    Raises
    ------
    ConfigError
        If not exactly one is left out, a value is outside its range, or the target is out of reach.

    Examples
    --------
    >>> solve(Known(noise_multiplier=3.45, sampling_probability=1.0), 8.0, 1e-4).rounds
    40
    """
    searches: dict[str, Callable[..., float]] = {
        "noise_multiplier": least_noise,
        "rounds": most_rounds,
        "sampling_probability": largest_sampling,
    }
    missing = [name for name in searches if getattr(known, name) is None]
    if len(missing) != 1:
        raise ConfigError("noise, rounds and sampling: give all but one of them")
    if target == 0:
        raise ConfigError(f"epsilon = 0: {NO_BUDGET}")
    if not 0 < target < float("inf"):
        raise ConfigError(f"epsilon = {target}: expected a finite number > 0")
    check_resolved(delta, target)
    if known.relation == "replace_one" and known.sampling_probability is None:
        raise ConfigError("replace_one: everyone takes part in every round; give --sampling 1")
    name = missing[0]

    def having(value: Any) -> Rounds:
        return Rounds(**{**vars(known), name: value})

    having(1)  # refuses what is out of range
    return having(searches[name](lambda value: having(value).epsilon(delta), target))


def participations(rounds: Rounds, users: int) -> tuple[int, int]:
    """How often the least and the most frequent of so many users typically took part.

    Of n users, each in every round with probability q, the expected number below the first figure,
    and above the second, is less than one: the binomial quantiles at 1/n and 1 - 1/n.

    Raises
    ------
    ConfigError
        For fewer than one user.
    """
    default_delta(users)  # refuses what is no number of users
    law = binom(rounds.rounds, rounds.sampling_probability)
    if users == 1:
        return int(law.median()), int(law.median())
    return int(law.ppf(1 / users)), int(law.ppf(1 - 1 / users))
