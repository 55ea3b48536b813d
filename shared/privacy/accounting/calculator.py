"""One of epsilon, noise, rounds and sampling from the other three, where all rounds are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dp_accounting import DpEvent
from scipy.stats import binom

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import default_delta, epsilon
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
    relation : {"add_remove", "replace_one"}
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
    relation: Relation = "add_remove"
    group: int = 1

    def __post_init__(self) -> None:
        if not 1e-3 <= self.noise_multiplier <= 1e6:
            raise ConfigError(f"noise = {self.noise_multiplier}: expected a number, 1e-3 to 1e6")
        if not 1 <= self.rounds <= MOST_ROUNDS:
            raise ConfigError(f"rounds = {self.rounds}: expected 1 to {MOST_ROUNDS:,}")
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


def solve(
    target: float,
    delta: float,
    *,
    noise_multiplier: float | None = None,
    rounds: int | None = None,
    sampling_probability: float | None = None,
    relation: Relation = "add_remove",
    group: int = 1,
) -> Rounds:
    """The one parameter that is left out, such that the rounds just meet a target.

    Parameters
    ----------
    target : float
        Epsilon > 0, finite.
    delta : float
        In (0, 1).
    noise_multiplier, rounds, sampling_probability : optional
        All but one of them. Found are the least noise, the most rounds or the largest probability.
    relation, group
        As for `Rounds`.

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
    >>> solve(8.0, 1e-4, noise_multiplier=3.45, sampling_probability=1.0).rounds
    40
    """
    given = (noise_multiplier, rounds, sampling_probability)
    if sum(value is None for value in given) != 1:
        raise ConfigError("noise, rounds and sampling: give all but one of them")
    if not 0 < target < float("inf"):
        raise ConfigError(f"epsilon = {target}: expected a finite number > 0")
    if relation == "replace_one" and sampling_probability is None:
        raise ConfigError("replace_one: everyone takes part in every round; give --sampling 1")
    start = Rounds(
        1.0 if noise_multiplier is None else noise_multiplier,
        1 if rounds is None else rounds,
        1.0 if sampling_probability is None else sampling_probability,
        relation,
        group,
    )
    return _solved(start, target, delta, given)


def _solved(start: Rounds, target: float, delta: float, given: tuple[float | None, ...]) -> Rounds:
    if given[0] is None:

        def by_noise(z: float) -> float:
            return replace(start, noise_multiplier=z).epsilon(delta)

        return replace(start, noise_multiplier=least_noise(by_noise, target))
    if given[1] is None:

        def by_rounds(count: int) -> float:
            return replace(start, rounds=count).epsilon(delta)

        return replace(start, rounds=most_rounds(by_rounds, target))

    def by_sampling(q: float) -> float:
        return replace(start, sampling_probability=q).epsilon(delta)

    return replace(start, sampling_probability=largest_sampling(by_sampling, target))


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
