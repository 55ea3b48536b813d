"""How answers become a sum: what is refused before anybody is asked."""

import pytest

from server.release.sums import check_cohorts, form_of
from shared.config import from_dict, settings_hash
from shared.errors import ConfigError
from shared.request import Request


def asking(users, merge=False, **federation):
    tree = {"privacy": {"epsilon": 8.0, "delta": 1e-6}, "model": {"moments_rank": 0}}
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
