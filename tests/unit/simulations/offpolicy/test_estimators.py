"""The five estimators, on a log small enough to be worked out by hand."""

import doctest
from fractions import Fraction as F

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.offpolicy import LoggedFeedback, estimators, value_of
from simulations.offpolicy.clicks import Cells, rates
from simulations.offpolicy.estimators import Terms, choose_switch, contributions, estimates
from simulations.offpolicy.policies import Popularity, Uniform
from simulations.offpolicy.value import model_of, terms_of

EXACT = 1e-12

# Three rows: r, w, u, v, q.
ROWS = [
    (F(1), F(5, 2), F(1), F(3, 10), F(1, 5)),
    (F(0), F(2, 5), F(1), F(1, 10), F(1, 10)),
    (F(1), F(7), F(3, 2), F(1, 4), F(1, 2)),
]


def terms(rows=ROWS):
    return Terms(*(np.array([float(row[k]) for row in rows]) for k in range(5)))


def test_the_example_of_the_docstring():
    assert doctest.testmod(estimators) == (0, 3)  # failed, tried


def test_estimates_are_those_worked_out_by_hand():
    found = estimates(terms(), tau=3.0)
    n = len(ROWS)
    by_hand = {
        "dm": sum(v for _, _, _, v, _ in ROWS) / n,
        "ips": (F(5, 2) + F(7)) / n,
        "snips": (F(5, 2) + F(7)) / (F(5, 2) + F(2, 5) + F(7)),
        "dr": (F(3, 10) + F(5, 2) * F(4, 5) + F(1, 10) - F(2, 5) * F(1, 10)
               + F(3, 8) + F(7) * F(1, 2)) / n,
        "switch_dr": (F(3, 10) + F(5, 2) * F(4, 5) + F(1, 10) - F(2, 5) * F(1, 10) + F(3, 8)) / n,
    }  # fmt: skip
    assert found.keys() == by_hand.keys()
    for name, value in by_hand.items():
        assert found[name] == pytest.approx(float(value), abs=EXACT)


def made(items, propensities, rewards, people=None, slates=None, **more):
    """A log of three items, in two places where there are slates."""
    n = len(items)
    slates = list(range(n)) if slates is None else slates
    places = [slates[:row].count(slate) for row, slate in enumerate(slates)]
    fields = {
        "name": "made",
        "item_ids": ("a", "b", "c"),
        "items": np.array(items),
        "places": np.array(places),
        "place_names": tuple(sorted(set(places))),
        "rewards": np.array(rewards, dtype=float),
        "propensities": np.array(propensities, dtype=float),
        "people": np.array(range(n) if people is None else people),
        "slates": np.array(slates),
        "times": np.arange(n),
        "arrivals": np.zeros(3, dtype=np.int64),
        "clicked_is_gone": False,
    }
    return LoggedFeedback(**{**fields, **more})


def test_weights_of_rows_of_their_own():
    """Uniform over three: a weight is 1/3 over the propensity."""
    log = made([0, 1, 2, 0], [0.5, 0.25, 0.25, 0.5], [1, 0, 1, 0])
    cells, modelled = model_of(log, 0)
    chances, found, lost = terms_of(Uniform(), log, cells, modelled)
    assert found.weights == pytest.approx([2 / 3, 4 / 3, 4 / 3, 2 / 3], abs=EXACT)
    assert found.above.tolist() == [1, 1, 1, 1]
    assert found.expected == pytest.approx(modelled[cells.folds, :, 0].mean(axis=1), abs=EXACT)
    assert chances.sum() == pytest.approx(4)
    assert lost == 0


def test_weights_along_a_slate_are_products_over_what_is_left():
    """Uniform: 1/3 for the first place, 1/2 for the second; above the first nothing stands."""
    log = made([0, 1, 2, 0], [0.6, 0.5, 0.2, 0.75], [0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1])
    cells, modelled = model_of(log, 0)
    _, found, _ = terms_of(Uniform(), log, cells, modelled)
    first = [F(1, 3) / F(3, 5), F(1, 3) / F(1, 5)]
    second = [first[0] * F(1, 2) / F(1, 2), first[1] * F(1, 2) / F(3, 4)]
    expected = [first[0], second[0], first[1], second[1]]
    assert found.weights == pytest.approx([float(one) for one in expected], abs=EXACT)
    assert found.above == pytest.approx([1, float(first[0]), 1, float(first[1])], abs=EXACT)


def test_what_somebody_clicked_or_what_comes_later_is_no_choice():
    arrivals = np.array([0, 0, 2])  # c comes with the third row
    log = made([0, 1, 1], [0.5, 1.0, 0.5], [1, 0, 0], [0, 0, 0], clicked_is_gone=True,
               arrivals=arrivals)  # fmt: skip
    ((rows, there),) = log.choices
    assert (rows.start, rows.stop) == (0, 3)
    assert there.tolist() == [[True, True, False], [False, True, False], [False, True, True]]
    assert [context.tolist() for context in log.clicked_before(rows)] == [[], [0], [0]]


def test_popularity_is_counted_on_other_people():
    log = made([0, 0, 1, 2], [1 / 3] * 4, [1, 1, 1, 0])
    cells, _ = model_of(log, 0)
    weights = Popularity().weights(log, slice(0, 4), cells)
    for row in range(4):  # four people in as many folds: everybody else's clicks, and one
        others = [i for i in range(4) if i != row]
        clicks = [sum(log.rewards[i] for i in others if log.items[i] == item) for item in range(3)]
        assert weights[row].tolist() == [1 + click for click in clicks]


def test_the_model_of_clicks_is_that_of_its_page():
    """One fold of others: item a at place 0 clicked 2 of 4, item b 0 of 4, nothing else shown."""
    clicks, shown = np.zeros((1, 2, 1)), np.zeros((1, 2, 1))
    clicks[0, 0], shown[0] = 2, 4
    rate = F(2, 8)
    of_item = (2 + 1) / (4 + 1 / rate), 1 / (4 + 1 / rate)
    expected = [(2 + of_item[0] / rate) / (4 + 1 / rate), (of_item[1] / rate) / (4 + 1 / rate)]
    found = rates(clicks, shown)[0, :, 0]
    assert found == pytest.approx([float(one) for one in expected], abs=EXACT)
    assert rates(np.zeros((1, 2, 1)), shown).tolist() == [[[0.0], [0.0]]]


def test_a_policy_by_its_own_log_is_worth_what_it_earned():
    rng = np.random.default_rng(0)
    log = made(rng.integers(3, size=60).tolist(), [1 / 3] * 60, (rng.random(60) < 0.4).tolist())
    found = value_of(Uniform(), log)
    for name in ("ips", "snips"):
        assert found.estimates[name].value == pytest.approx(found.logged.value, abs=EXACT)
    assert found.effective_rows == pytest.approx(60)
    assert (found.largest_weight, found.unsupported) == (pytest.approx(1), 0)
    assert found.warnings == []
    assert value_of(Uniform(), log) == found  # seeded


def test_what_no_row_tells_is_said():
    log = made([0, 1] * 20, [0.5] * 40, [0, 1] * 20)  # c is never shown
    found = value_of(Uniform(), log)
    assert found.unsupported == pytest.approx(1 / 3)
    assert "never shows" in found.warnings[0]
    assert "not 1" in found.warnings[1]


def test_propensities_rounded_to_four_digits_are_no_wrong_ones():
    log = made([0, 1, 2] * 20, [0.3333] * 60, [0, 1, 0] * 20)
    found = value_of(Uniform(), log)
    assert not found.mean_weight.low <= 1 <= found.mean_weight.high
    assert found.warnings == []


@given(
    weights=st.lists(st.floats(0, 100), min_size=4, max_size=30),
    most=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_switching_never_raises_the_bound(weights, most, seed):
    """tau is one of the weights' quantiles, and no tau of them has a lower bound."""
    rng = np.random.default_rng(seed)
    n = len(weights)
    some = Terms((rng.random(n) < 0.5).astype(float), np.array(weights), np.ones(n),
                 rng.random(n), rng.random(n))  # fmt: skip

    def bound(tau):
        top, _ = contributions(some, tau)["switch_dr"]
        alone = max(0.0, 1 - float((some.weights * (some.weights <= tau)).mean()))
        return top.var() / n + (alone * most) ** 2

    tau = choose_switch(some, most)
    assert bound(tau) <= min(bound(max(weights)), bound(float(np.median(weights)))) + EXACT


def test_nobody_is_modelled_on_their_own_rows():
    rng = np.random.default_rng(1)
    folds = rng.integers(3, size=50)
    cells = Cells(folds, rng.integers(2, size=50), rng.integers(2, size=50), (3, 2, 2))
    values = rng.random(50)
    for fold in range(3):
        kept = np.where(folds == fold, 0, values)
        assert cells.others(values)[fold] == pytest.approx(cells.sums(kept).sum(axis=0))
