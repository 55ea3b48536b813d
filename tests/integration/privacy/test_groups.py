"""A group as the unit: noise, ledger, policy, claim and verification speak of the same size."""

import json

import pytest

from shared.errors import ConfigError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.chain import LedgerHeader
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.plan import device_plan, server_plan
from shared.privacy.policy.issue import promises
from simulations.verify.run import verify_run
from tests.support.command import command, results
from tests.support.federations import point_config
from tests.support.privacy.attacks import said
from tests.support.privacy.guarantees import differing

USERS = 40


def history(plan):
    return [(planned.event, planned.times) for planned in plan.releases]


@pytest.mark.parametrize(
    "privacy",
    [
        {"unit": "user"},
        {"unit": "example"},
        {"unit": "example", "trust": "local"},
        {"unit": "user", "trust": "distributed"},
    ],
    ids=["user", "example", "local", "distributed"],
)
def test_the_noise_is_for_the_group(privacy):
    one, three = (
        point_config(
            "b",
            federation={"rounds": 2, "popularity_start": False},
            privacy=privacy | {"group_size": size, "delta": 1e-3},
        )
        for size in (1, 3)
    )
    make = device_plan if privacy.get("trust") == "local" else server_plan
    single, group = make(one, USERS), make(three, USERS)
    assert group.noise_multiplier > 1.5 * single.noise_multiplier
    delta = group.guarantee.delta
    assert single.guarantee.delta == delta
    spent = epsilon(history(group), delta, group=3)
    assert spent == pytest.approx(2.0, rel=1e-3)
    assert epsilon(history(single), delta, group=3) > 2.5  # that of one is not a group's
    assert epsilon(history(group), delta) < 2.0


def test_without_sampling_three_people_need_three_times_the_noise():
    federation = {"cohort": 1.0, "popularity_start": False}
    plans = [
        server_plan(point_config("b", federation=federation, privacy={"group_size": k}), USERS)
        for k in (1, 3)
    ]
    assert plans[1].noise_multiplier == pytest.approx(3 * plans[0].noise_multiplier, rel=1e-4)


def test_policy_and_ledger_say_whom_the_budget_covers(tmp_path):
    config = point_config("b", federation={"cohort": 1.0}, privacy={"group_size": 3})
    assert [promise.guarantee.group for promise in promises(config, USERS)] == [3]
    plan = server_plan(config, USERS)
    ledger = Ledger.create(tmp_path / "l.jsonl", LedgerHeader(plan.guarantee, "0" * 64))
    for planned in plan.releases:
        for number in range(planned.times):
            ledger.append(number, planned.kind, planned.event)
    again = Ledger.open(tmp_path / "l.jsonl")
    assert again.header.guarantee.group == 3
    assert 1.99 < again.epsilon() <= 2.0 * (1 + 1e-6)
    alone = differing(again.header, group=1)
    assert alone.promise != again.header.promise
    first = Ledger.create(tmp_path / "one.jsonl", alone)
    assert Ledger.open(first.path).header.guarantee.group == 1


@pytest.mark.parametrize("size", [0, 33, 1.5])
def test_a_group_has_one_to_32_units(size):
    with pytest.raises(ConfigError, match=r"privacy\.group_size"):
        point_config("b", privacy={"group_size": size})


@pytest.fixture
def run(tmp_path, tiny_bert):
    settings = tmp_path / "settings.toml"
    settings.write_text(
        '[data]\nspec = "world"\nusers = 30\n[model]\nlayers = 1\nmax_length = 12\n'
        "[federation]\nrounds = 2\ncohort = 1.0\n[privacy]\ngroup_size = 2\n"
        "[sweep]\nepsilons = [4.0]\nreferences = []\n"
    )
    folder = tmp_path / "run"
    done = command("simulate", "--config", settings, "--backbone", tiny_bert, "--out", folder)
    assert done.code == 0, done.err
    assert "User-level epsilon of groups of 2 (zero_out" in done.out
    return folder


def test_a_run_states_and_verifies_the_group(run):
    point = results(run)["points"][0]
    assert point["group_size"] == 2
    assert point["epsilon"] == pytest.approx(4.0, rel=1e-3)
    assert point["epsilon_rdp"] >= point["epsilon"]
    report = verify_run(run)
    assert report.ok, report
    assert report.rows[0].promise == "user (groups of 2), central"
    assert "The budget covers any 2 such units together" in (run / "report.html").read_text()
    tree = results(run)
    tree["points"][0]["group_size"] = 4  # a claim that the ledger does not show
    (run / "results.json").write_text(json.dumps(tree))
    assert "group_size = 4 claimed" in said(run)
