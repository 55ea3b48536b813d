"""The settings of a server's one point."""

import math

import pytest

from server.up.begin import among, point_of


@pytest.mark.parametrize(("users", "asked"), [(5, 1.0), (99, 1.0), (100, 100), (943, 100)])
def test_a_preset_asks_everybody_where_it_asks_more_than_there_are(users, asked):
    point = point_of(None, "demo", {}, math.inf, 30)
    assert point.federation.cohort == 100
    assert among(point, users).federation.cohort == asked


def test_people_are_the_server_s_own(tmp_path):
    """Whatever settings of another run say; rounds that are open at one epsilon follow too."""
    other = tmp_path / "other.toml"
    other.write_text("[data]\npeople = 943\n[federation]\nrounds = 3\n")
    assert point_of(other, None, {}, 4.0, 30).data.people == 30
    open_ = tmp_path / "open.toml"
    open_.write_text('[private.federation]\nrounds = "auto"\npopularity_start = true\n')
    assert point_of(open_, None, {}, 4.0, 30).federation.fixed_rounds == 0


def test_a_share_of_all_stays_one():
    point = point_of(None, "demo", {}, 4.0, 30)
    assert among(point, 2) == point
