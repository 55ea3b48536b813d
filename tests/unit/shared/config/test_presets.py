"""From flags and files to an experiment, and from an experiment to the names of its files."""

import copy
import math
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.config import at_epsilon, from_dict, load_toml
from shared.config.presets import override, preset_file
from shared.errors import ConfigError
from shared.privacy.contribution.units import histogram_in_clear
from shared.run_files import point_name
from simulations.commands.options import numbers as _numbers

FINITE = st.floats(min_value=1e-6, max_value=1e12)


@pytest.mark.parametrize("name", ["default", "demo", "items", "million", "world-deep"])
def test_presets_are_valid_at_every_point(name):
    config = from_dict(load_toml(preset_file(name)))
    for epsilon in config.sweep.epsilons:
        assert at_epsilon(config, epsilon, 0).privacy.epsilon == epsilon
    assert math.inf in config.sweep.epsilons


def test_the_demo_draws_four_budgets_and_three_seeds():
    sweep = from_dict(load_toml(preset_file("demo"))).sweep
    assert sum(math.isfinite(epsilon) for epsilon in sweep.epsilons) >= 4
    assert len(sweep.seeds) >= 3


def test_a_flag_speaks_for_noised_points_too():
    tree = {"federation": {"rounds": 9}, "private": {"federation": {"rounds": 3, "cohort": 5.0}}}
    config = override(tree, {"federation.rounds": 4})
    assert config.federation.rounds == at_epsilon(config, 1.0, 0).federation.rounds == 4
    assert at_epsilon(config, 1.0, 0).federation.cohort == 5
    assert at_epsilon(config, math.inf, 0).federation.cohort == 100


@pytest.mark.parametrize(
    "flag", [("privacy.unit", "example"), ("federation.popularity_start", False)]
)
def test_moments_of_a_preset_give_way_and_those_of_a_file_are_refused(flag):
    tree = load_toml(preset_file("demo")) | {"train": {"local_steps": 1}}
    assert tree["model"]["moments_rank"] > 0
    with pytest.raises(ConfigError, match=r"model\.moments_rank = 32"):
        override(copy.deepcopy(tree), dict([flag]))
    assert override(tree, dict([flag]), preset=True).model.moments_rank == 0


def test_the_page_of_policies_says_what_settings_of_real_nodes_have():
    page = (Path(__file__).parents[4] / "docs/policy.md").read_text()
    own = tomllib.loads(page.split("```toml\n", 1)[1].split("```", 1)[0])
    tree = load_toml(preset_file("demo"))
    merged = {name: {**tree.get(name, {}), **own.get(name, {})} for name in {**tree, **own}}
    point = at_epsilon(from_dict(merged), 2.0, 0)
    assert point.privacy.delta == 1e-5 != at_epsilon(from_dict(tree), 2.0, 0).privacy.delta
    assert not histogram_in_clear(point)  # which real nodes decline


def test_numbers():
    assert _numbers("--epsilon", "0.5, 8,inf", float) == [0.5, 8.0, math.inf]
    assert _numbers("--seeds", "0,12", int) == [0, 12]
    with pytest.raises(ConfigError, match="--seeds"):
        _numbers("--seeds", "0,inf", int)


@given(FINITE, FINITE)
def test_points_of_different_budgets_have_different_files(one, two):
    assert (point_name(one, 0) == point_name(two, 0)) == (one == two)


@given(st.one_of(FINITE, st.just(math.inf)), st.integers(0, 10**6))
def test_a_point_has_a_name_that_a_ledger_may_have(epsilon, seed):
    assert re.fullmatch(r"ledger-[\w.-]+\.jsonl", f"ledger-{point_name(epsilon, seed)}.jsonl")


def test_round_budgets_have_short_names():
    assert point_name(8.0, 0) == "eps-8-seed-0"
    assert point_name(0.5, 3) == "eps-0.5-seed-3"
    assert point_name(math.inf, 0) == "eps-inf-seed-0"
