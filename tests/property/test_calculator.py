"""Whichever parameter is found, the target is met, and one step more does not meet it."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.privacy.accounting import calculator
from shared.privacy.accounting.calculator import Known, Rounds, participations, solve

SHARE = 2e-5  # one step on
targets = st.floats(0.5, 20)
deltas = st.sampled_from([1e-3, 1e-5, 1e-7])
noise = st.floats(0.8, 6)
counts = st.integers(1, 40)
sampling = st.sampled_from([0.1, 0.5, 1.0])
relations = st.sampled_from(["zero_out", "replace_one"])
FEW = settings(max_examples=4, deadline=None, derandomize=True)


def is_tight(found: Rounds, beyond: Rounds, target: float, delta: float) -> bool:
    return found.epsilon(delta) <= target < beyond.epsilon(delta)


@FEW
@given(target=targets, delta=deltas, rounds=counts, q=sampling, relation=relations)
def test_the_least_noise(target: float, delta: float, rounds: int, q: float, relation: str) -> None:
    assume(relation == "zero_out" or q == 1)
    found = solve(Known(None, rounds, q, relation), target, delta)
    less = replace(found, noise_multiplier=found.noise_multiplier * (1 - SHARE))
    assert is_tight(found, less, target, delta)
    assert (found.rounds, found.sampling_probability) == (rounds, q)


@FEW
@given(target=targets, delta=deltas, z=noise, q=sampling, relation=relations)
def test_the_most_rounds(target: float, delta: float, z: float, q: float, relation: str) -> None:
    assume(relation == "zero_out" or q == 1)
    assume(Rounds(z, 1, q, relation).epsilon(delta) <= target)
    assume(Rounds(z, 300, q, relation).epsilon(delta) > target)
    found = solve(Known(z, None, q, relation), target, delta)
    assert is_tight(found, replace(found, rounds=found.rounds + 1), target, delta)


@FEW
@given(target=targets, delta=deltas, z=noise, rounds=counts)
def test_the_largest_sampling(target: float, delta: float, z: float, rounds: int) -> None:
    assume(Rounds(z, rounds, 1e-3).epsilon(delta) <= target)
    found = solve(Known(z, rounds), target, delta)
    q = found.sampling_probability
    if q == 1:
        assert found.epsilon(delta) <= target
    else:
        more = replace(found, sampling_probability=min(q * (1 + SHARE), 1.0))
        assert is_tight(found, more, target, delta)


def test_a_search_that_stops_early_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: each wrong way of stopping fails the property above."""
    target, delta = 4.0, 1e-5
    right = solve(Known(noise_multiplier=2.0, sampling_probability=0.1), target, delta)
    beyond = replace(right, rounds=right.rounds + 1)
    assert is_tight(right, beyond, target, delta)
    assert not is_tight(replace(right, rounds=right.rounds - 1), right, target, delta)
    monkeypatch.setattr(calculator, "most_rounds", lambda cost, target: right.rounds + 1)
    wrong = solve(Known(noise_multiplier=2.0, sampling_probability=0.1), target, delta)
    assert not is_tight(wrong, replace(wrong, rounds=wrong.rounds + 1), target, delta)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"rounds": 5}, "all but one"),
        ({"noise_multiplier": None}, "all but one"),
        ({"target": 0.0}, "epsilon"),
        ({"target": float("inf")}, "epsilon"),
        ({"target": float("nan")}, "epsilon"),
        ({"target": 2e-3}, "exceeded by a single round"),
        ({"noise_multiplier": 1e5}, "not reached"),
        ({"noise_multiplier": 0.0}, "noise"),
        ({"noise_multiplier": float("nan")}, "noise"),
        ({"sampling_probability": 0.0}, "sampling"),
        ({"sampling_probability": 1.5}, "sampling"),
        ({"delta": 0.0}, "delta"),
        ({"group": 0}, "group"),
        ({"rounds": 0, "noise_multiplier": None}, "rounds"),
        ({"rounds": 10**7, "noise_multiplier": None}, "rounds"),
        ({"rounds": 3, "sampling_probability": None, "relation": "replace_one"}, "replace_one"),
        (
            {"rounds": 10**6, "sampling_probability": None, "noise_multiplier": 0.01},
            "exceeded even with",
        ),
    ],
)
def test_refuses_what_cannot_be_found(changed: dict[str, object], word: str) -> None:
    given = {"target": 4.0, "delta": 1e-5, "noise_multiplier": 2.0, "sampling_probability": 1.0}
    given |= changed
    target, delta = given.pop("target"), given.pop("delta")
    known = Known(**given)
    with pytest.raises(ConfigError, match=word):
        solve(known, target, delta)


def test_individuals_spend_what_they_took_part_in() -> None:
    found = Rounds(2.0, 100, 0.1)
    everyone = Rounds(2.0, 7, 1.0)
    assert found.epsilon_taking_part(0, 1e-5) == 0
    assert found.epsilon_taking_part(7, 1e-5) == everyone.epsilon(1e-5)
    assert found.epsilon(1e-5) < found.epsilon_taking_part(100, 1e-5)
    least, most = participations(found, 1000)
    assert 0 < least < 10 < most < 100
    assert participations(found, 1) == (10, 10)
    with pytest.raises(ConfigError, match="users"):
        participations(found, 0)
