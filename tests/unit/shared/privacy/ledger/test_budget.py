"""A device's own ledger: it lasts, it declines, and it never counts too little."""

from dataclasses import replace

import numpy as np
import pytest
from dp_accounting import SelfComposedDpEvent

from shared.config import from_dict
from shared.errors import ConfigError, Declined, LedgerError
from shared.privacy.accounting.accountant import epsilon
from shared.privacy.ledger.budget import DeviceBudget
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.plan import device_plan

PRIVACY = {"unit": "example", "trust": "local", "epsilon": 2.0, "max_participations": 3}
PRIVACY |= {"histogram_share": 0.05}  # else few people leave little to the rounds
CONFIG = from_dict({"federation": {"rounds": 20}, "train": {"local_steps": 2}, "privacy": PRIVACY})
PLAN = device_plan(CONFIG, 100)
DELTA = PLAN.guarantee.delta
SIMULATED = (7, "anna")


STEP = PLAN.planned("update").event.event  # one of its local steps


@pytest.fixture
def file(tmp_path):
    return tmp_path / "state" / "ledger.jsonl"


def opened(file, context=None, plan=PLAN, settings="p"):
    """As after a restart: nothing but the file survives."""
    return DeviceBudget(file, plan, settings, context)


def test_participations_add_up_over_restarts_until_the_device_declines(file):
    opened(file).spend_histogram()
    for number in (3, 8, 9):
        opened(file).spend_update(number)
    spent = opened(file).ledger
    assert [(e.round, e.release) for e in spent.entries] == [
        (0, "histogram"),
        (3, "update"),
        (8, "update"),
        (9, "update"),
    ]
    events = [(PLAN.planned("histogram").event, 1), (PLAN.planned("update").event, 3)]
    assert spent.epsilon() == epsilon(events, DELTA) == pytest.approx(2.0, rel=1e-3)
    before = file.read_bytes()
    with pytest.raises(Declined, match=r"declined round 10: has taken part as often") as caught:
        opened(file).spend_update(10)
    assert "\n" not in str(caught.value)
    with pytest.raises(Declined):
        opened(file).spend_histogram()
    assert file.read_bytes() == before  # what was declined is not recorded


def test_what_a_histogram_would_have_cost_buys_no_further_round(file):
    """The budget would cover it; the number of participations is agreed, too."""
    for number in (1, 2, 3):
        opened(file).spend_update(number)
    with pytest.raises(Declined, match="declined round 4"):
        opened(file).spend_update(4)


def test_a_budget_beyond_the_agreed_releases_is_declined_by_epsilon(file):
    spender = opened(file)
    spender.ledger.append(1, "update", SelfComposedDpEvent(STEP, 6))
    with pytest.raises(Declined, match=r"declined round 2: .*epsilon 2 at delta"):
        opened(file).spend_update(2)


def test_another_number_of_users_is_another_agreement(file):
    opened(file)
    with pytest.raises(ConfigError, match="another number of users"):
        DeviceBudget(
            file, replace(PLAN, guarantee=PLAN.guarantee.at(PLAN.guarantee.delta / 10)), "p", None
        )


def test_each_step_of_an_update_counts(file):
    budget = opened(file)
    budget.spend_update(1)
    assert budget.ledger.epsilon() == epsilon([(STEP, 2)], DELTA)


def test_a_round_repeated_after_a_crash_counts_again_on_a_real_device(file):
    opened(file).spend_update(1)
    opened(file).spend_update(1)
    assert len(opened(file).ledger) == 2


def test_a_simulated_device_repeats_the_same_message_and_pays_once(file):
    first = opened(file, SIMULATED).spend_update(1).normal(5)
    again = opened(file, SIMULATED).spend_update(1).normal(5)
    assert len(opened(file, SIMULATED).ledger) == 1
    np.testing.assert_array_equal(first, again)


def test_simulated_noise_differs_by_round_release_device_seed_and_policy(file, tmp_path):
    def draw(name, context=SIMULATED, settings="p", number=1):
        budget = opened(tmp_path / name, context, settings=settings)
        return tuple(budget.spend_update(number).normal(3))

    draws = {
        draw("a"),
        draw("a", number=2),
        draw("b", context=(8, "anna")),
        draw("c", context=(7, "ben")),
        draw("d", settings="q"),
        tuple(opened(file, SIMULATED).spend_histogram().normal(3)),
    }
    assert len(draws) == 6


def test_real_noise_is_fresh(file):
    one, two = (opened(file).spend_update(1).normal(4) for _ in range(2))
    assert not np.array_equal(one, two)


def test_a_repeated_round_that_no_longer_fits_is_declined_on_a_real_device(file):
    budget = opened(file)
    budget.spend_histogram()
    for number in (1, 2, 3):
        budget.spend_update(number)
    with pytest.raises(Declined):
        opened(file).spend_update(3)
    opened(file, SIMULATED).spend_update(3)  # the same value again: it costs nothing


def test_a_crash_between_ledger_and_message_over_counts(file):
    opened(file).spend_update(1)  # ... and no message was ever made
    assert opened(file).ledger.epsilon() == epsilon(
        [(PLAN.planned("update").event, 1)], PLAN.guarantee.delta
    )


def test_a_line_that_was_never_whole_is_dropped_and_the_rest_counts(file):
    opened(file).spend_update(1)
    whole = file.read_bytes()
    opened(file).spend_update(2)
    file.write_bytes(file.read_bytes()[:-20])
    assert len(opened(file).ledger) == 1
    assert file.read_bytes() == whole


def test_the_record_is_on_disk_before_there_is_noise(file, monkeypatch):
    budget = opened(file)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shared.privacy.ledger.ledger._write_through", full)
    with pytest.raises(LedgerError, match="nothing may be released"):
        budget.spend_update(1)


def test_another_policy_is_refused(file):
    opened(file).spend_update(1)
    with pytest.raises(ConfigError, match="belongs to other settings") as caught:
        opened(file, settings="q")
    assert str(file) in str(caught.value)


def test_an_altered_ledger_is_refused(file):
    opened(file).spend_update(1)
    opened(file).spend_update(2)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], lines[2]]))
    with pytest.raises(LedgerError, match="line 2"):
        opened(file)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(ConfigError, match="state: cannot be made"):
        opened(tmp_path / "state" / "ledger.jsonl")


def test_the_header_is_the_promise_of_the_plan(file):
    opened(file)
    header = Ledger.open(file).header.guarantee
    assert (header.unit, header.trust, header.budget) == ("example", "local", 2.0)
