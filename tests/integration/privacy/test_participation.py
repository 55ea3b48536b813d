"""A simulation vouches for devices' ledgers only if they are what its seed makes of them."""

import pytest

from shared.errors import LedgerError
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.plan.terms import device_terms
from simulations.flower.grid import CohortGrid, nodes_of
from simulations.sweep.participation import check_participation
from simulations.world.world import World
from tests.support.federations import federate, point_config
from tests.support.tiny import make_engine

pytestmark = pytest.mark.usefixtures("flower")

USERS = 14
CASES = {
    "everything once": {},
    "few participations": {"max_participations": 2},
    "both units": {"unit": "both", "trust": "central"},
}


@pytest.fixture(scope="module")
def engine(tiny_bert):
    return make_engine(World(users=USERS, items=60), tiny_bert)


def finished(folder, engine, backbone, monkeypatch, **privacy):
    config = point_config(
        backbone,
        privacy={"unit": "example", "trust": "local", "epsilon": 8.0, **privacy},
        federation={"cohort": 7.0, "popularity_cohort": 5.0},
    )
    federate(folder, CohortGrid(engine, folder / "devices" / "point"), config, monkeypatch)
    return folder / "devices" / "point", config


def check(place, config):
    nodes = nodes_of(World(users=USERS))
    check_participation(DeviceLedgers.open(place), config, nodes, device_terms(config, USERS))


@pytest.mark.parametrize("case", CASES)
def test_an_honest_run_passes(case, engine, tiny_bert, tmp_path, monkeypatch):
    check(*finished(tmp_path, engine, tiny_bert, monkeypatch, **CASES[case]))


def cut(file):
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))


ATTACKS = {
    "a ledger's end is gone": cut,
    "a ledger is gone": lambda file: file.unlink(),
    "a ledger of somebody who was not drawn": lambda file: file.rename(
        file.with_name(f"{USERS}.jsonl")
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_missing_is_found(attack, engine, tiny_bert, tmp_path, monkeypatch):
    place, config = finished(tmp_path, engine, tiny_bert, monkeypatch)
    ATTACKS[attack](sorted(place.glob("*.jsonl"))[0])
    with pytest.raises(LedgerError, match="disagrees with the cohorts"):
        check(place, config)
