"""Rounds that follow from people and budget."""

import dataclasses
import math

import pytest

from shared.config import at_epsilon, from_dict, settings_hash
from shared.config.load import load_toml
from shared.config.presets import override, preset_file
from shared.config.rounds import FEWEST, MOST, PRIVATE
from shared.errors import ConfigError

CASES = {
    "few people": (math.inf, 100, {}, FEWEST),
    "each four times": (math.inf, 3_000, {}, 188),
    "a million": (math.inf, 1_000_000, {}, MOST),
    "a small budget": (1.0, 943, {}, 0),
    "too few for rounds": (8.0, 943, {}, 0),
    "just enough": (8.0, 6_250, {}, PRIVATE),
    "a household counts as one": (8.0, 6_250, {"privacy.group_size": 2}, 0),
    "examples have rounds alone": (1.0, 100, {"privacy.unit": "example"}, PRIVATE),
    "no histogram": (1.0, 100, {"federation.popularity_start": False}, PRIVATE),
    "an adaptive clip": (1.0, 100, {"privacy.adaptive_clipping": 0.5}, PRIVATE),
    "as was said": (1.0, 100, {"federation.rounds": 3}, 3),
}


def point(epsilon, people, flags):
    whole = override(load_toml(preset_file("default")), flags, preset=True)
    data = dataclasses.replace(whole.data, people=people)
    return at_epsilon(dataclasses.replace(whole, data=data), epsilon, 0)


@pytest.mark.parametrize(("epsilon", "people", "flags", "rounds"), CASES.values(), ids=CASES)
def test_rounds_of_a_point(epsilon, people, flags, rounds):
    found = point(epsilon, people, flags)
    assert found.federation.rounds == found.federation.fixed_rounds == rounds


def test_nobody_trains_for_rounds_that_nobody_counted():
    open_ = point(8.0, None, {})
    assert open_.federation.rounds == "auto"
    with pytest.raises(ConfigError, match="give --rounds N"):
        _ = open_.federation.fixed_rounds


def test_settings_that_state_rounds_are_what_they_were():
    """A new setting that is left out is in no hash, and so moves no noise."""
    tree = {"federation": {"rounds": 7}}
    config = from_dict(tree)
    assert config.data.people is None
    assert settings_hash(config) == settings_hash(from_dict({**tree, "data": {}}))


@pytest.mark.parametrize("wrong", ["many", -1, 1.5, 10**9])
def test_what_is_no_number_of_rounds_is_refused(wrong):
    with pytest.raises(ConfigError, match=rf"federation\.rounds = {wrong!r}: .*, or 'auto'"):
        from_dict({"federation": {"rounds": wrong}})
