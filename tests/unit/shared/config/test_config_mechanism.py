"""Correlated noise: which settings go together, and what they become."""

import math
import re

import pytest
from dp_accounting import GaussianDpEvent, NoOpDpEvent

from shared.aggregation import RULES
from shared.config import at_epsilon, from_dict, load_toml, to_dict
from shared.config.presets import preset_file
from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.mechanisms.correlated import CorrelatedMechanism
from shared.privacy.mechanisms.toeplitz import banded_square_root
from shared.privacy.plan.correlation import correlation
from shared.privacy.plan.plan import server_plan
from shared.privacy.plan.terms import server_terms
from simulations.api.settings import begins_from
from tests.support import ROOT


def config(budget=8.0, **sections):
    tree = {
        "federation": {"rounds": 16, "cohort": 0.25, "server_optimizer": "fedavgm", "beta_1": 0.9},
        "privacy": {"epsilon": budget, "mechanism": "dp_ftrl", "min_separation": 4},
    }
    for section, values in sections.items():
        tree.setdefault(section, {}).update(values)
    return from_dict(tree)


REFUSED = {
    "trust": ({"privacy": {"trust": "local", "unit": "example"}}, ["unit = example"]),
    "unit": ({"privacy": {"unit": "both"}}, ["dp_ftrl", "unit = both"]),
    "bands": ({"privacy": {"bands": 5}}, ["privacy.bands = 5", "privacy.min_separation = 4"]),
    "cohort": ({"federation": {"cohort": 0.3}}, ["federation.cohort = 0.3", "separation = 4"]),
    "clip": ({"privacy": {"adaptive_clipping": 0.5}}, ["dp_ftrl", "adaptive_clipping = 0.5"]),
    "rule": ({"federation": {"aggregation": "fedsvd"}}, ["dp_ftrl", "aggregation = fedsvd"]),
    "gaussian": ({"privacy": {"mechanism": "gaussian"}}, ["min_separation = 4", "= gaussian"]),
    "gaussian participations": (
        {"privacy": {"mechanism": "gaussian", "min_separation": 1, "max_participations": 2}},
        ["max_participations = 2", "mechanism = gaussian", "unit = user", "trust = central"],
    ),
    "gaussian bands": (
        {"privacy": {"mechanism": "gaussian", "min_separation": 1, "bands": 2}},
        ["privacy.bands = 2", "= gaussian"],
    ),
}


@pytest.mark.parametrize(("sections", "said"), REFUSED.values(), ids=list(REFUSED))
def test_a_contradiction_names_both_settings(sections, said):
    with pytest.raises(ConfigError) as caught:
        config(**sections)
    for words in said:
        assert words in str(caught.value)


def test_the_refusal_and_the_page_name_the_rules_that_go_with_it():
    page = (ROOT / "docs" / "dp-ftrl.md").read_text(encoding="utf-8")
    told = re.search(r"keep their coordinates \(([^)]*)\)", page)[1]
    steady = set(re.findall("`(\\w+)`", told))
    for rule in RULES:
        if rule in steady:
            assert config(federation={"aggregation": rule})
            continue
        with pytest.raises(ConfigError, match=f"aggregation = {rule}: its coordinates") as caught:
            config(federation={"aggregation": rule})
        words = re.search("use (.*), or --mechanism", str(caught.value))[1]
        assert set(re.split(", | or ", words)) == steady


def test_a_cohort_in_people_is_refused_once_their_number_is_known():
    settings = config(federation={"cohort": 26.0})
    with pytest.raises(ConfigError, match=r"cohort = 26 .*min_separation = 4: of 100 users"):
        server_terms(settings, 100)
    assert server_terms(settings, 104) is not None


def test_more_rounds_than_participations_are_refused():
    settings = config(privacy={"max_participations": 3})
    with pytest.raises(ConfigError, match=r"max_participations = 3 .*rounds = 16 .* 4 times each"):
        server_terms(settings, 100)


def test_a_point_without_noise_has_none_of_it():
    settings = config(math.inf, federation={"cohort": 1.0})
    terms = server_terms(settings, 100)
    assert terms.correlation is None
    assert "training" not in terms.times


def test_the_plan_counts_the_training_once_and_its_rounds_never():
    plan = server_plan(config(), 100)
    assert plan.times == {"training": 1, "histogram": 1, "update": 16}
    z = plan.noise_multiplier
    assert plan.planned("training").event == GaussianDpEvent(z)
    assert plan.planned("update").event == NoOpDpEvent()
    assert plan.planned("update").times == 16
    spent = [(at.event, at.times) for at in plan.releases]
    assert epsilon(spent, plan.guarantee.delta) == pytest.approx(8.0, rel=1e-4)
    assert plan.planned("histogram").event == GaussianDpEvent(plan.histogram_noise_multiplier)
    assert (plan.sampling_probability, plan.histogram_sampling) == (1, 1)
    assert "who took part in which round" in plan.guarantee.adversary


def test_the_mechanism_is_that_of_the_settings():
    mechanism = server_plan(config(privacy={"clipping_norm": 0.3}), 100).planned("update").mechanism
    assert isinstance(mechanism, CorrelatedMechanism)
    assert mechanism.matrix == banded_square_root(16, 4, 0.9)
    assert (mechanism.participations, mechanism.separation) == (4, 4)
    assert mechanism.clip.norm == 0.3


@pytest.mark.parametrize(
    ("sections", "bands", "momentum", "most"),
    [
        ({}, 4, 0.9, 4),
        ({"privacy": {"bands": 2}}, 2, 0.9, 4),
        ({"federation": {"server_optimizer": "fedadam"}}, 4, 0.0, 4),
        ({"federation": {"rounds": 3}}, 3, 0.9, 1),
        ({"federation": {"cohort": 0.1}, "privacy": {"max_participations": 2}}, 4, 0.9, 2),
    ],
)
def test_bands_momentum_and_limits(sections, bands, momentum, most):
    settings = config(**sections)
    found = correlation(settings, 100)
    assert found.matrix == banded_square_root(settings.federation.rounds, bands, momentum)
    assert (found.participations, found.separation) == (most, 4)


def test_a_share_that_is_rounded_is_no_contradiction():
    """A third of 943 users every third round."""
    settings = config(federation={"cohort": 1 / 3}, privacy={"min_separation": 3})
    assert correlation(settings, 943).separation == 3


def test_one_band_is_independent_noise_for_known_cohorts():
    """As much as a Gaussian in every round that someone takes part in, composed."""
    mechanism = server_plan(config(privacy={"bands": 1}), 100).planned("update").mechanism
    assert mechanism.sensitivity == pytest.approx(2)  # sqrt(4 participations)


def test_the_preset_is_valid_and_the_option_takes_it():
    tree = load_toml(preset_file("dp_ftrl"))
    settings = from_dict(tree)
    for budget in settings.sweep.epsilons:
        assert server_terms(at_epsilon(settings, budget, 0), 943) is not None
    assert begins_from(None, None, None, None, "dp_ftrl") == tree
    assert from_dict(to_dict(settings)) == settings
