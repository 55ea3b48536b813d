"""What releases cost: epsilon from events, and the noise that meets a target.

Three accountants answer for the same history. PLD is tight and is the one that counts; RDP is a
looser upper bound with an independent derivation; Opacus's PRV is an independent implementation
of the tight one. All three go through `steps_of`, which knows every event that may be accounted and
refuses any other, and through one translation of noise multipliers per neighbouring relation.

A history with Skellam noise in it is accounted by RDP alone: it is the figure that counts there.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from shared.errors import ConfigError
from shared.privacy.accounting.pld import pld_epsilon
from shared.privacy.accounting.rdp import renyi_epsilon
from shared.privacy.accounting.search import least_noise
from shared.privacy.accounting.steps import History, Step, Steps, is_hopeless, steps_of
from shared.privacy.guarantee import Guarantee, Relation

LEAST_EPSILON = 1e-3  # ten times what the accountants may be off by
LEAST_DELTA = 1e-14  # ten times the probability that PLD leaves out: below it, nothing is finite
_LARGEST_GROUP = 10**6
_LARGEST_PRV = 200.0  # beyond it an epsilon has no meaning as a guarantee either
_MOST_PRV = 10**5


def default_delta(users: int) -> float:
    """The largest power of ten at most 1 / (9 n).

    Parameters
    ----------
    users : int
        n >= 1, the number of units protected.

    Raises
    ------
    ConfigError
        For fewer than one user.

    Examples
    --------
    >>> default_delta(943)
    0.0001
    """
    if users < 1:
        raise ConfigError(f"users = {users}: expected at least 1")
    digits = 1
    while 10**digits < 9 * users:  # in whole numbers: a logarithm may round the wrong way
        digits += 1
    return float(f"1e-{digits}")


def check_resolved(
    delta: float,
    budget: float = math.inf,
    names: tuple[str, str] = ("delta (--delta)", "epsilon (--epsilon)"),
) -> None:
    """Refuse to look for a promise that is finer than what is counted here.

    Parameters
    ----------
    delta, budget : float
        In (0, 1); > 0.
    names : tuple of str
        What whoever gave them calls them.

    Raises
    ------
    ConfigError
        For a delta or a budget below the least.
    """
    if delta < LEAST_DELTA:
        raise ConfigError(
            f"{names[0]} = {delta:g}: expected at least {LEAST_DELTA:g}: the accountants resolve "
            "no smaller probability, and no noise would have a finite epsilon there"
        )
    if budget < LEAST_EPSILON:
        raise ConfigError(
            f"{names[1]} = {budget:g}: expected at least {LEAST_EPSILON:g}: losses are accounted "
            "to 0.0001, and less could not be told from none at all"
        )


def epsilon(
    history: History, delta: float, relation: Relation = "zero_out", group: int = 1
) -> float:
    """The privacy loss of a history by privacy loss distributions: the figure that counts.

    With Skellam noise in it, by Rényi divergences, as `epsilon_rdp`.

    Parameters
    ----------
    history : DpEvent or sequence of (DpEvent, int)
        Gaussian and Poisson-sampled Gaussian releases (several of one sample: their composition,
        sampled), Skellam releases, compositions of them, non-private releases.
        Noise multipliers are relative to the clipping norm.
    delta : float
        In (0, 1).
    relation : {"zero_out", "replace_one"}
        Under `replace_one` only releases in which everyone takes part are supported.
    group : int
        k >= 1 units, such as the people of a household: epsilon of all k being present or absent
        together (`replace_one`: all k replaced), at this delta. At most 32 where units are sampled.

    Returns
    -------
    float
        An upper bound, too large by less than 1e-4 + 1e-4 epsilon (1e-3 + 1e-3 epsilon for a
        sampled group); infinity if any release was without noise, or from about 700 on, where
        e^epsilon overflows.

    Raises
    ------
    ConfigError
        For an event of another kind, or a parameter outside its range.

    Notes
    -----
    Without sampling, k units move a sum by k clipping norms at most, so noise is worth z / k: exact
    for Gaussians. In a Poisson sample the number of them that is in is binomial, and what they are
    compared with is a mixture of Gaussians with 0 to k times the sensitivity. Both are far below
    what the generic rule (k epsilon, at a delta that grows as e^(k epsilon)) would give.

    References
    ----------
    Doroshenko, Ghazi, Kamath, Kumar, Manurangsi. Connect the Dots: Tighter Discrete
    Approximations of Privacy Loss Distributions. PoPETs 2022. https://arxiv.org/abs/2207.04380
    Ganesh. Tight Group-Level DP Guarantees for DP-SGD with Sampling via Mixture of Gaussians
    Mechanisms. 2024. https://arxiv.org/abs/2401.10294
    """
    gaussian = all_gaussian(steps_of(history, relation))
    _check_group(group)
    if gaussian is None:
        return _by_rdp(history, delta, relation, group)
    return pld_epsilon(gaussian, _check_delta(delta), relation, group)


def epsilon_rdp(
    history: History, delta: float, relation: Relation = "zero_out", group: int = 1
) -> float | None:
    """The same by Rényi differential privacy: an upper bound that is never tighter.

    Parameters and errors as for `epsilon`.

    Returns
    -------
    float or None
        None for a group some of which are sampled, which this accountant does not know.

    References
    ----------
    Mironov, Talwar, Zhang. Rényi Differential Privacy of the Sampled Gaussian Mechanism. 2019.
    https://arxiv.org/abs/1908.10530
    """
    steps = _unit_sensitivity(steps_of(history, relation), relation, _check_group(group))
    _check_delta(delta)
    return None if steps is None else _rdp(steps, delta)


def epsilon_prv(
    history: History, delta: float, relation: Relation = "zero_out", group: int = 1
) -> float | None:
    """The same by Opacus's accountant of privacy random variables; upper end of its interval.

    Parameters and errors as for `epsilon`.

    Returns
    -------
    float or None
        At most 0.02 above the exact value, plus what a relative change of 1/1000 in delta makes.
        None for a history with Skellam noise and for a group some of which are sampled, which this
        accountant does not know; above 200, where it needs gigabytes; of more than 100,000
        releases, where it takes minutes; where its grid cannot resolve a history.

    References
    ----------
    Gopi, Lee, Wutschitz. Numerical Composition of Differential Privacy. NeurIPS 2021.
    https://arxiv.org/abs/2106.02848
    """
    steps = _unit_sensitivity(steps_of(history, relation), relation, _check_group(group))
    gaussian = None if steps is None else all_gaussian(steps)
    _check_delta(delta)
    return None if gaussian is None else _prv(gaussian, delta)


def largest(
    cost: Callable[[History, float, Relation, int], float | None],
    histories: Sequence[History],
    delta: float,
    relation: Relation,
    group: int = 1,
) -> float | None:
    """What the costliest of several histories costs: those of devices with disjoint data.

    Parameters
    ----------
    cost : callable
        `epsilon`, `epsilon_rdp` or `epsilon_prv`.
    histories : sequence of History
        At least one.

    Returns
    -------
    float or None
        None if the accountant does not cover one of them.

    References
    ----------
    McSherry. Privacy Integrated Queries. SIGMOD 2009. Theorem 4 (parallel composition).
    """
    found = [cost(history, delta, relation, group) for history in histories]
    known = [value for value in found if value is not None]
    return max(known) if len(known) == len(found) else None


def all_gaussian(steps: Steps) -> tuple[Step, ...] | None:
    """The steps, if none is discrete."""
    gaussian = tuple(step for step in steps if isinstance(step, Step))
    return gaussian if len(gaussian) == len(steps) else None


def _check_delta(delta: float) -> float:
    if not 0 < delta < 1:
        raise ConfigError(f"delta = {delta}: expected a number in (0, 1)")
    return delta


def _check_group(group: int) -> int:
    if not 1 <= group <= _LARGEST_GROUP:
        raise ConfigError(f"group = {group}: expected 1 to {_LARGEST_GROUP} units")
    return group


def _unit_sensitivity(steps: Steps, relation: Relation, group: int = 1) -> Steps | None:
    """Steps for an accountant that knows `zero_out` of one unit only; None for a sampled group.

    A replaced unit moves the sum by 2 C, so the noise is worth half. PLD doubles the sensitivity
    itself when told the relation and must not be given these.
    """
    sampled = any(isinstance(step, Step) and step.sampling_probability != 1 for step in steps)
    distance = (1.0 if relation == "zero_out" else 2.0) * group
    return None if sampled and group > 1 else tuple(step.moved(distance) for step in steps)


def _by_rdp(history: History, delta: float, relation: Relation, group: int) -> float:
    spent = epsilon_rdp(history, delta, relation, group)
    if spent is None:
        raise ConfigError(
            f"group = {group}: Skellam and sampled releases together are accounted for single "
            "units only; count every release as if all took part (sampling probability 1)"
        )
    return spent


@functools.lru_cache(maxsize=256)
def _rdp(steps: Steps, delta: float) -> float:
    return math.inf if is_hopeless(steps) else renyi_epsilon(steps, delta)


@functools.lru_cache(maxsize=256)
def _prv(steps: tuple[Step, ...], delta: float) -> float | None:
    if is_hopeless(steps):
        return math.inf
    if not steps:
        return 0.0
    if _LARGEST_PRV < pld_epsilon(steps, delta, "zero_out") < math.inf:
        return None
    if sum(step.times for step in steps) > _MOST_PRV:
        return None
    from opacus.accountants import PRVAccountant  # slow to load

    accountant = PRVAccountant()
    accountant.history = [tuple(step) for step in steps]
    with warnings.catch_warnings(), np.errstate(all="ignore"):  # log(1 - q) at q = 1
        warnings.simplefilter("ignore")
        try:
            return float(accountant.get_epsilon(delta))
        except (RuntimeError, ValueError):  # its grid cannot resolve this history
            return None


@dataclass(frozen=True)
class Side:
    """Releases beside the rounds that together may take a share of the budget.

    Parameters
    ----------
    share : float
        In (0, 1), of the squared signal-to-noise ratio that the budget affords.
    sampling_probability : float
        q in (0, 1] of each of them.
    times : int
        How many there are, >= 1.
    """

    share: float
    sampling_probability: float = 1.0
    times: int = 1


@dataclass(frozen=True)
class Calibration:
    """Noise that keeps a guarantee.

    Parameters
    ----------
    noise_multiplier : float
        z of every main release; 0 for an infinite budget.
    epsilon : float
        By PLD, of everything together; at most the budget.
    sides : tuple of float
        z of each of the releases beside, in their order.
    """

    noise_multiplier: float
    epsilon: float
    sides: tuple[float, ...] = ()


@functools.lru_cache(maxsize=64)
def calibrate(
    guarantee: Guarantee,
    rounds: int,
    sampling_probability: float,
    sides: tuple[Side, ...] = (),
) -> Calibration:
    """The least noise with which a fixed plan of releases stays within a guarantee's budget.

    The plan is `rounds` main releases, each of a Poisson sample, and what stands beside them. With
    z_1 the noise multiplier of a single release that would spend the whole budget, n releases with
    a share of the squared signal-to-noise ratio get z_1 sqrt(n / share) each. What remains goes to
    the main releases, in equal parts: the rounds or, where there are none, the histogram.

    Parameters
    ----------
    guarantee : Guarantee
        An infinite budget asks for no noise.
    rounds : int
        Main releases, >= 1.
    sampling_probability : float
        q in (0, 1] of each of them.
    sides : tuple of Side
        What else is released, such as the popularity histogram.

    Returns
    -------
    Calibration
        Its epsilon is at most the budget; its noise at most 1e-5 (relative) above the least that
        the accountant admits. Deterministic.

    Raises
    ------
    ConfigError
        For a value outside its range, or a budget out of reach: below what the accountant's grid
        resolves, or with noise multipliers outside 1e-2 to 1e6.
    """
    _check_plan(rounds, sides)
    each = Step(1.0, sampling_probability, rounds)
    planned = [each, *(Step(1.0, side.sampling_probability, side.times) for side in sides)]
    steps_of([(step.event(), step.times) for step in planned], guarantee.relation)  # or refuses
    if math.isinf(guarantee.budget):
        return Calibration(0.0, math.inf, (0.0,) * len(sides))

    def cost(step: Step, *others: Step) -> Callable[[float], float]:
        def at(z: float) -> float:
            steps = [step._replace(noise_multiplier=z), *others]
            return epsilon([(each.event(), each.times) for each in steps], *guarantee.counted)

        return at

    def noised(side: Side) -> Step:
        z_1 = least_noise(cost(Step(1.0, side.sampling_probability, 1)), guarantee.budget)
        z = z_1 * math.sqrt(side.times / side.share)
        return Step(z, side.sampling_probability, side.times)

    others = [noised(side) for side in sides]
    z = least_noise(cost(each, *others), guarantee.budget)
    multipliers = tuple(other.noise_multiplier for other in others)
    return Calibration(z, cost(each, *others)(z), multipliers)


def _check_plan(rounds: int, sides: tuple[Side, ...]) -> None:
    if rounds < 1:
        raise ConfigError(f"rounds = {rounds}: expected at least 1")
    shares = [side.share for side in sides]
    if not all(share > 0 for share in shares) or not sum(shares) < 1:
        raise ConfigError(
            f"shares of what is released beside the rounds = {shares}: expected numbers above 0 "
            "that sum to less than 1"
        )
