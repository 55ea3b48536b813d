"""The settings of a server's one point."""

import math

import pytest

from server.up.begin import among, point_of


@pytest.mark.parametrize(("users", "asked"), [(5, 1.0), (99, 1.0), (100, 100), (943, 100)])
def test_a_preset_asks_everybody_where_it_asks_more_than_there_are(users, asked):
    point = point_of(None, "demo", {}, math.inf, 30)
    assert point.federation.cohort == 100
    assert among(point, users).federation.cohort == asked


def test_a_share_of_all_stays_one():
    point = point_of(None, "demo", {}, 4.0, 30)
    assert among(point, 2) == point
