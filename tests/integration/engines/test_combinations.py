"""Unit x trust x mechanism x aggregation: each runs and is accounted, or is refused."""

import dataclasses
import itertools
from typing import get_args, get_type_hints

import pytest

from shared.config import FederationConfig, PrivacyConfig, from_dict
from shared.errors import ConfigError
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.policy.issue import promises
from shared.privacy.policy.signed import load_policy
from simulations.flower.grid import CohortGrid
from simulations.world.world import World
from tests.support.federations import federate, point_config
from tests.support.privacy.policies import operator
from tests.support.tiny import make_engine

pytestmark = pytest.mark.usefixtures("flower")

USERS = 6
PRIVACY, FEDERATION = get_type_hints(PrivacyConfig), get_type_hints(FederationConfig)
NAMES = [field.name for field in dataclasses.fields(PrivacyConfig)]
DIMENSIONS = {
    "privacy.unit": get_args(PRIVACY["unit"]),
    "privacy.trust": ("central", "distributed", "local"),
    "privacy.mechanism": get_args(PRIVACY["mechanism"]) if "mechanism" in NAMES else (),
    "federation.aggregation": get_args(FEDERATION["aggregation"]),
}
KNOWN = {name: words for name, words in DIMENSIONS.items() if words}
EVERY = [dict(zip(KNOWN, words, strict=True)) for words in itertools.product(*KNOWN.values())]
UNITS = {"user": {"user"}, "example": {"example"}, "both": {"user", "example"}}


def settings(tiny_bert, case):
    sections = {
        "federation": {"rounds": 1, "cohort": 1.0, "popularity_start": False},
        "privacy": {"delta": 1e-2, "clipping_norm": 0.5},
    }
    for name, word in case.items():
        section, _, key = name.partition(".")
        sections[section][key] = word
    return point_config(tiny_bert, **sections)


def said(tiny_bert, case):
    """What is wrong with a combination; empty if nothing is."""
    try:
        promises(settings(tiny_bert, case), USERS)
    except ConfigError as error:
        return str(error)
    return ""


def test_what_is_refused_names_the_settings(tiny_bert):
    refused = [(case, why) for case in EVERY if (why := said(tiny_bert, case))]
    assert 0 < len(refused) < len(EVERY)
    for case, why in refused:
        assert names_settings(why), f"{case}: {why}"


def names_settings(why):
    named = [name for name in KNOWN if name in why]
    unknown = "Input should be '" in why  # one setting has no such word at all
    return "\n" not in why and len(named) >= (1 if unknown else 2)


def label(case):
    return " ".join(case.values())


@pytest.fixture(scope="module")
def engine(tiny_bert):
    engines = {}

    def of(config):
        factors = config.model.factors
        if factors not in engines:
            world = World(users=USERS, items=60)
            engines[factors] = make_engine(world, tiny_bert, factors=factors)
        return engines[factors]

    return of


def accepted():
    """Decided without a model: the folder of the backbone is not opened by settings."""
    return [case for case in EVERY if not said("backbone", case)]


@pytest.mark.parametrize("case", accepted(), ids=label)
def test_what_is_accepted_runs_and_is_accounted(case, engine, tiny_bert, tmp_path, monkeypatch):
    config = settings(tiny_bert, case)
    state = tmp_path / "devices" / "point"
    grid = CohortGrid(engine(config), state)
    try:
        run = federate(tmp_path, grid, config, monkeypatch)
    except ConfigError as error:  # what only the run itself can know
        if not names_settings(str(error)):
            raise
        return
    policy = load_policy(run.files.policy, operator())
    promised = [promise.guarantee for promise in policy.promises]
    assert {one.unit for one in promised} == UNITS[config.privacy.unit]
    ledgers = {"server": Ledger.open(run.files.ledger)} if run.files.ledger.exists() else {}
    if state.exists():
        ledgers["devices"] = DeviceLedgers.open(state)
    kept = {ledger.header.guarantee.unit: ledger for ledger in ledgers.values()}
    assert set(kept) == UNITS[config.privacy.unit]
    for one in promised:
        ledger = kept[one.unit]
        assert len(ledger) > 0
        assert ledger.header.guarantee.trust == one.trust
        assert ledger.header.guarantee.relation == one.relation == "zero_out"
        assert 0 < ledger.epsilon() <= one.budget * (1 + 1e-6)


def test_no_unit_is_converted_into_another(tiny_bert):
    """Under both units each epsilon is its own: that of one says nothing of the other."""
    both = {"unit": "both", "example_epsilon": 4.0, "delta": 1e-3}
    user, example = promises(point_config(tiny_bert, privacy=both), 40)
    alone = {"unit": "user", "delta": 1e-3}
    assert promises(point_config(tiny_bert, privacy=alone), 40) == (user,)
    assert (user.guarantee.budget, example.guarantee.budget) == (2.0, 4.0)
    local = {"unit": "example", "trust": "local", "epsilon": 4.0, "delta": 1e-3}
    assert promises(point_config(tiny_bert, privacy=local), 40) == (example,)


def test_a_word_that_is_no_setting_is_refused():
    with pytest.raises(ConfigError, match="household"):
        from_dict({"privacy": {"unit": "household"}})
