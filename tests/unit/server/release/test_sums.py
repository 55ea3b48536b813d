"""How answers become a sum: what is refused before anybody is asked."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

import server.cohort.sampling
from server.cohort.sampling import PATIENCE
from server.release.sums import check_cohorts, connected, form_of
from shared.config import from_dict, settings_hash
from shared.errors import ConfigError
from shared.request import Request


def asking(users, merge=False, trust="central", **federation):
    tree = {
        "privacy": {"epsilon": 8.0, "delta": 1e-6, "trust": trust},
        "model": {"moments_rank": 0},
    }
    config = from_dict(tree | {"federation": {"rounds": 1, **federation}})
    return Request("", config, users, settings_hash(config), merge=merge)


LARGE = [
    ("cohort (--cohort)", "update", {"cohort": 15_000.0}),
    ("popularity_cohort", "histogram", {"cohort": 100.0}),
    ("metrics_cohort", "metrics", {"cohort": 100.0}),
]


@pytest.mark.parametrize(("named", "kind", "federation"), LARGE)
def test_a_cohort_that_no_secure_sum_takes_is_refused(named, kind, federation):
    with pytest.raises(ConfigError) as caught:
        check_cohorts(asking(100_000, **federation), [kind])
    assert f"federation.{named}: as many as " in str(caught.value)
    assert "takes 10000 at most" in str(caught.value)
    check_cohorts(asking(100_000, secure_aggregation="off", **federation), [kind])
    check_cohorts(asking(100_000, merge=True, **federation), [kind])  # a simulation makes none


def test_one_that_it_takes_is_not():
    check_cohorts(asking(100_000, cohort=5_000.0), ["update"])


def test_where_answers_are_read_one_by_one_there_is_no_form():
    assert form_of(asking(100, secure_aggregation="off"), simulated=False) is None
    assert form_of(asking(100, merge=True), simulated=True) is None


class Returning:
    """Nodes that are connected again one after the other, one more at each look."""

    def __init__(self, there, most):
        self.there, self.most, self.looks = there, most, 0

    def get_node_ids(self):
        self.looks += 1
        self.there = min(self.there + 1, self.most)
        return range(self.there)


@pytest.fixture
def passing(monkeypatch):
    """Time passes by sleeping alone, from one look to the next."""
    clock = SimpleNamespace(now=0.0)
    clock.monotonic = lambda: clock.now
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(server.cohort.sampling, "time", clock)
    return clock


@pytest.mark.parametrize("kind", ["histogram", "update"])
@pytest.mark.parametrize("trust", ["central", "distributed"])
def test_a_cohort_is_drawn_once_enough_nodes_are_there_for_its_sum(kind, trust, passing):
    about = asking(10, trust=trust, cohort=1.0, secure_aggregation="on")
    fewest = form_of(replace(about, release=kind), simulated=False).fewest
    assert fewest > 1
    grid = Returning(0, 10)
    assert len(connected(grid, about, kind, 1.0)) == fewest
    assert passing.now > 0
    assert len(connected(Returning(0, 10), about, kind, 0.5)) == min(10, 2 * fewest)
    assert len(connected(Returning(0, 10), replace(about, merge=True), kind, 1.0)) == 1


@pytest.mark.parametrize("most", [0, 1])
def test_it_does_not_wait_for_ever(most, passing):
    about = asking(10, cohort=1.0, secure_aggregation="on")
    assert len(connected(Returning(0, most), about, "update", 1.0)) == most
    assert PATIENCE <= passing.now <= PATIENCE + 5


def test_one_node_is_enough_where_nothing_is_added_up_in_a_ring(passing):
    about = asking(10, secure_aggregation="off")
    assert len(connected(Returning(-3, 10), about, "update", 0.01)) == 1
