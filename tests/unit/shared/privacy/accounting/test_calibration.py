"""Noise that meets a target, and not more noise than that."""

import math

import pytest
from dp_accounting import DpEvent, GaussianDpEvent

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import (
    LEAST_DELTA,
    LEAST_EPSILON,
    Calibration,
    Side,
    calibrate,
    epsilon,
)
from shared.privacy.accounting.calculator import Known, solve
from shared.privacy.accounting.search import largest_sampling, least_noise, most_rounds
from shared.privacy.accounting.steps import Step
from tests.support.privacy.guarantees import promised


def spent(found: Calibration, rounds: int, q: float, scale: float = 1.0) -> list:
    events: list[tuple[DpEvent, int]] = [
        (Step(found.noise_multiplier * scale, q, 1).event(), rounds)
    ]
    events += [(GaussianDpEvent(z), 1) for z in found.sides]
    return events


@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
@pytest.mark.parametrize(
    ("target", "delta", "rounds", "q"),
    [(8.0, 1e-4, 40, 1.0), (1.0, 1e-5, 100, 0.1), (0.1, 1e-6, 10, 0.05), (20.0, 1e-5, 5, 0.5)],
)
def test_meets_the_target_with_the_least_noise(
    target: float, delta: float, rounds: int, q: float, share: float
) -> None:
    found = calibrate(promised(target, delta), rounds, q, (Side(share),) if share else ())
    assert epsilon(spent(found, rounds, q), delta) == found.epsilon
    assert found.epsilon <= target
    assert epsilon(spent(found, rounds, q, scale=1 - 2e-5), delta) > target


def test_the_histogram_takes_its_share_of_the_signal() -> None:
    found = calibrate(promised(2.0, 1e-5), 10, 1.0, (Side(0.25),))
    alone = calibrate(promised(2.0, 1e-5), 1, 1.0)
    (histogram,) = found.sides
    assert histogram == pytest.approx(alone.noise_multiplier / 0.5, rel=1e-5)
    # Without sampling everything is one Gaussian: the signals must add up to the whole.
    signal = 10 / found.noise_multiplier**2 + 1 / histogram**2
    assert signal == pytest.approx(1 / alone.noise_multiplier**2, rel=1e-3)


def test_replacing_costs_twice_the_noise() -> None:
    noise = calibrate(promised(4.0, 1e-5), 10, 1.0).noise_multiplier
    replaced = calibrate(promised(4.0, 1e-5, relation="replace_one"), 10, 1.0).noise_multiplier
    assert replaced == pytest.approx(2 * noise, rel=1e-3)


def test_an_infinite_target_needs_no_noise() -> None:
    assert calibrate(promised(), 10, 0.5) == Calibration(0.0, math.inf)
    with_histogram = calibrate(promised(), 10, 0.5, (Side(0.1),))
    assert with_histogram == Calibration(0.0, math.inf, (0.0,))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"budget": 0.0}, "budget"),
        ({"budget": math.nan}, "budget"),
        ({"budget": 1e9}, "next to no noise"),
        ({"budget": 1e-9, "delta": 1e-14}, "exceeded even with"),
        ({"delta": 1.0}, "delta"),
        ({"rounds": 0}, "rounds"),
        ({"sampling_probability": 0.0}, "sampling probability"),
        ({"sampling_probability": 1.5}, "sampling probability"),
        ({"sides": (Side(1.0),)}, "sum to less than 1"),
        ({"relation": "replace_one"}, "zero_out only"),
    ],
)
def test_refuses_nonsense(changed: dict[str, object], word: str) -> None:
    promise = {"budget": 1.0, "delta": 1e-5, "relation": "zero_out"}
    plan = {"rounds": 10, "sampling_probability": 0.5, "sides": ()}
    with pytest.raises(ConfigError, match=word):
        calibrate(
            promised(**{name: changed.get(name, value) for name, value in promise.items()}),
            **{name: changed.get(name, value) for name, value in plan.items()},
        )


def test_what_is_released_beside_the_rounds_has_its_share() -> None:
    sides = (Side(0.2), Side(0.1, 1.0, 4), Side(0.05, 0.5))
    found = calibrate(promised(4.0, 1e-5), 10, 0.3, sides)
    history = [
        (Step(found.noise_multiplier, 0.3, 1).event(), 10),
        (Step(found.sides[0], 1.0, 1).event(), 1),
        (Step(found.sides[1], 1.0, 1).event(), 4),
        (Step(found.sides[2], 0.5, 1).event(), 1),
    ]
    assert epsilon(history, 1e-5) == pytest.approx(4.0, rel=1e-5)
    assert epsilon(history, 1e-5) <= 4.0
    whole = calibrate(
        promised(4.0, 1e-5), 1, 1.0
    ).noise_multiplier  # one release that spends all of it
    assert 4 / found.sides[1] ** 2 == pytest.approx(0.1 / whole**2, rel=1e-4)
    assert found.sides[0] ** -2 == pytest.approx(0.2 / whole**2, rel=1e-4)
    less = calibrate(promised(4.0, 1e-5), 10, 0.3, (Side(0.2),))
    assert less.noise_multiplier < found.noise_multiplier


def test_without_a_target_nothing_beside_is_noised_either() -> None:
    found = calibrate(promised(), 10, 0.3, (Side(0.1),))
    assert (found.noise_multiplier, found.sides) == (0.0, (0.0,))


@pytest.mark.parametrize("share", [0.0, -0.1, 0.9, math.nan])
def test_shares_that_leave_nothing_are_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="sum to less than 1"):
        calibrate(promised(1.0, 1e-5), 10, 0.5, (Side(0.1), Side(share)))


@pytest.mark.parametrize("q", [1e-3, 0.1, 1.0])
@pytest.mark.parametrize("rounds", [1, 1000])
def test_the_least_delta_is_where_accountants_end(q: float, rounds: int) -> None:
    """There every plan has a finite epsilon; a little below, none has, whatever its noise."""
    few = [(Step(3.0 * math.sqrt(rounds), q, 1).event(), rounds), (GaussianDpEvent(9.0), 2)]
    assert epsilon(few, LEAST_DELTA) < 10
    assert math.isinf(epsilon([(Step(1e6, q, 1).event(), 1)], LEAST_DELTA / 100))


FREE = {
    "noise": Known(None, 10, 0.1),
    "rounds": Known(1.0, None, 0.1),
    "sampling": Known(1.0, 10, None),
}


@pytest.mark.parametrize("free", FREE)
def test_what_is_finer_than_accountants_count_is_not_looked_for(free: str) -> None:
    """Whichever is asked for: else it would be the noise, rounds or sampling that were blamed."""
    for target in (0.99 * LEAST_EPSILON, 1e-9):
        with pytest.raises(ConfigError, match=r"epsilon \(--epsilon\) = .*: expected at least"):
            solve(FREE[free], target, 1e-5)
    for delta in (0.99 * LEAST_DELTA, 1e-300):
        with pytest.raises(ConfigError, match=r"delta \(--delta\) = .*: expected at least 1e-14"):
            solve(FREE[free], 8.0, delta)


# A cost that no value of what is searched for brings to a target of 2, and what then helps.
OUT_OF_REACH = {
    "too little": (lambda: least_noise(lambda z: 0.0, 2.0), "smaller epsilon, or more rounds"),
    "too much": (lambda: least_noise(lambda z: 3.0, 2.0), "fewer rounds"),
    "too often": (lambda: largest_sampling(lambda q: 3.0, 2.0), "more --noise or fewer --rounds"),
    "once": (lambda: most_rounds(lambda rounds: 3.0, 2.0), "more --noise or a smaller --sampling"),
    "never": (lambda: most_rounds(lambda rounds: 0.0, 2.0), "less --noise"),
}


@pytest.mark.parametrize("case", OUT_OF_REACH)
def test_a_target_out_of_reach_is_told_with_what_helps(case: str) -> None:
    find, helps = OUT_OF_REACH[case]
    with pytest.raises(ConfigError) as told:
        find()
    assert str(told.value).startswith("epsilon (--epsilon) = 2: ")
    assert helps in str(told.value)
    assert "use inf" not in str(told.value)  # no accountant asks to do without privacy
