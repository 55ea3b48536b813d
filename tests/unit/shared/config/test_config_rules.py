"""The rule shapes the model; what does not go together is refused when it is read."""

import dataclasses
import math
import re
from typing import get_args, get_type_hints

import pytest

from shared.aggregation import RULES
from shared.config import ExperimentConfig, at_epsilon, dump_toml, from_dict, to_dict
from shared.config.load import GONE
from shared.config.presets import override
from shared.config.rules import REFUSALS, factors_of, sums_uploads
from shared.errors import ConfigError

FEDSB = {"federation": {"aggregation": "fedsb"}}


@pytest.mark.parametrize(
    ("rule", "factors"), [("fedsb", "core"), ("principal", "principal"), ("ffa", "drawn")]
)
def test_the_rule_says_how_factors_begin(rule, factors):
    assert from_dict({"federation": {"aggregation": rule}}).model.factors == factors
    assert from_dict({}).model.factors == "drawn"


def test_settings_written_and_read_again_are_the_same(tmp_path):
    import tomllib

    config = from_dict(FEDSB)
    assert from_dict(tomllib.loads(dump_toml(config))) == config


@pytest.mark.parametrize("saved", [False, True])
def test_noised_points_may_have_a_rule_of_their_own(saved):
    """Either way round, also after the settings were written with their consequences."""
    for base, noised in (("fedit", "fedsb"), ("fedsb", "principal")):
        tree = {
            "federation": {"aggregation": base},
            "private": {"federation": {"aggregation": noised}},
        }
        config = from_dict(to_dict(from_dict(tree)) if saved else tree)
        assert at_epsilon(config, math.inf, 0).model.factors == factors_of(base)
        assert at_epsilon(config, 2.0, 0).model.factors == factors_of(noised)


def test_a_flag_takes_back_what_followed_from_another_rule():
    """The settings that a run has written name what its rule made of the model."""
    saved = to_dict(from_dict({"federation": {"aggregation": "principal"}}))
    assert override(saved, {"federation.aggregation": "fedit"}).model.factors == "drawn"


def test_a_flag_speaks_for_every_point():
    tree = {"private": {"federation": {"aggregation": "ffa"}}}
    config = override(tree, {"federation.aggregation": "fedsb"})
    for epsilon in (2.0, math.inf):
        point = at_epsilon(config, epsilon, 0)
        assert point.federation.aggregation == "fedsb"
        assert point.model.factors == "core"


@pytest.mark.parametrize(
    ("rule", "factors"),
    [("fedsb", "drawn"), ("fedsb", "principal"), ("fedit", "core"), ("ffa", "principal")],
)
def test_a_model_of_another_shape_is_refused(rule, factors):
    tree = {"federation": {"aggregation": rule}, "model": {"factors": factors}}
    with pytest.raises(ConfigError, match=rf"model\.factors = {factors} .*aggregation = {rule}"):
        from_dict(tree)


@pytest.mark.parametrize("rule", ["ffa", "alternating", "fedsvd", "fedsb", "principal"])
def test_a_rule_for_factors_needs_some(rule):
    federation = {"federation": {"aggregation": rule}}
    with pytest.raises(ConfigError, match=rf"aggregation = {rule} .* model\.lora_rank = 0"):
        from_dict({**federation, "model": {"lora_rank": 0}})
    with pytest.raises(ConfigError, match=rf"aggregation = {rule} .* model\.lora_rank = 0"):
        from_dict({**federation, "private": {"model": {"lora_rank": 0}}})


def test_principal_needs_something_to_read():
    principal = {"federation": {"aggregation": "principal"}}
    from_dict({**principal, "model": {"lora_rank": 0, "item_rank": 4}})
    with pytest.raises(ConfigError, match=r"model\.lora_rank = 0"):
        from_dict({**principal, "model": {"lora_rank": 0, "item_rank": 0}})


@pytest.mark.parametrize("tree", [{"federation": 3}, {"model": [1]}, {"model": {"factors": 7}}])
def test_nonsense_is_refused_by_name(tree):
    (section,) = tree
    with pytest.raises(ConfigError, match=section):
        from_dict(tree)


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refusal_names_settings_and_words_that_exist(refusal):
    found = re.findall(r"[{[]=?([a-z_]+)\.([a-z_]+)(?:: (.*?))?[}\]]", refusal)
    assert found
    for section, setting, asked in found:
        kind = type(getattr(ExperimentConfig(), section))
        assert setting in {field.name for field in dataclasses.fields(kind)}
        known = set(get_args(get_type_hints(kind)[setting])) or {"true", "false"}
        if asked not in ("", "given", "0") and not asked.startswith("> "):
            assert set(asked.split()) - {"not"} <= known


@pytest.mark.parametrize("name", RULES)
def test_what_the_settings_say_of_a_rule_is_what_it_does(name):
    """The clip asks the settings: the rules stand above it."""
    config = from_dict({"federation": {"aggregation": name}})
    assert sums_uploads(config) is RULES[name].linear


@pytest.mark.parametrize("key", GONE)
def test_a_setting_of_an_earlier_version_says_so(key):
    section, name = key.split(".")
    with pytest.raises(ConfigError, match=f"unknown setting {key}; it is of an earlier version"):
        from_dict({section: {name: "0" * 64}}, source="run/config.toml")
