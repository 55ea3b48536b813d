"""`starling verify` where devices add noise: every device's ledger counts.

As for the server's ledger, every alteration must be found; the pattern is what the report says.
"""

import io
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent

from shared.config import DataConfig, at_epsilon, settings_hash
from shared.privacy.guarantee import USER_CENTRAL
from shared.privacy.ledger.budget import DeviceBudget
from shared.privacy.ledger.device_ledgers import DeviceLedgers
from shared.privacy.ledger.ledger import Ledger
from shared.privacy.plan.plan import device_plan
from simulations.commands.verify import print_deltas
from simulations.console import Console
from simulations.verify.run import verify_run
from tests.support.privacy import ledgers
from tests.support.privacy.attacks import Attack, claim, device, interrupt, said, without
from tests.support.privacy.ledgers import (
    LOCAL,
    USERS,
    devices_folder,
    ended,
    load,
    save,
)


def lines(edit: Callable[[list[bytes]], list[bytes]]) -> Attack:
    def attack(run: Path) -> None:
        before = device(run).read_bytes()
        device(run).write_bytes(b"".join(edit(before.splitlines(keepends=True))))
        assert device(run).read_bytes() != before

    return attack


def sealed_again(run: Path, inner: bool = False) -> None:
    """By the operator's own key: only what the settings say remains to catch it."""
    record = DeviceLedgers.open(devices_folder(run, 2.0))
    claim("example" if inner else None, **ended(record))(run)


def one_release_more(run: Path) -> None:
    ledger = Ledger.open(device(run, 10))
    ledger.append(2, "update", Ledger.open(device(run)).entries[-1].event)


def device_removed(run: Path) -> None:
    device(run, 10).unlink()


def device_added(run: Path) -> None:
    shutil.copy(device(run, 10), device(run, 11))


def devices_swapped(run: Path) -> None:
    device(run, 0).rename(device(run, 99))
    device(run, 1).rename(device(run, 0))
    device(run, 99).rename(device(run, 1))


def all_devices_removed(run: Path) -> None:
    shutil.rmtree(devices_folder(run, 2.0))


def budget(run: Path, user: int, **plan: Any) -> DeviceBudget:
    config = at_epsilon(LOCAL, 2.0, 0)
    own = device_plan(config, USERS)
    assert own is not None
    return DeviceBudget(device(run, user), replace(own, **plan), settings_hash(config), None)


def participation_over_the_limit(run: Path) -> None:
    """Recorded under a budget that covers it, and vouched for."""
    for path in devices_folder(run, 2.0).glob("*.jsonl"):
        path.unlink()
    promised = replace(device_plan(at_epsilon(LOCAL, 2.0, 0), USERS).guarantee, budget=9.0)
    guard = budget(run, 0, guarantee=promised)
    guard.spend_histogram()
    event = device_plan(at_epsilon(LOCAL, 2.0, 0), USERS).planned("update").event
    for number in (1, 2, 3, 4):  # past the guard, which would decline the fourth
        guard.ledger.append(number, "update", event)
    sealed_again(run)


def round_after_the_last(run: Path) -> None:
    budget(run, 10).spend_update(5)
    sealed_again(run)


def less_noise_on_one_device(run: Path) -> None:
    device(run, 10).unlink()
    own = device_plan(at_epsilon(LOCAL, 2.0, 0), USERS)
    assert own is not None
    update = own.planned("update")
    less = SelfComposedDpEvent(PoissonSampledDpEvent(0.5, GaussianDpEvent(3.0)), 2)
    budget(run, 10, releases=(replace(update, event=less),)).spend_update(1)
    sealed_again(run)


def ledger_for_another_policy(run: Path) -> None:
    config = at_epsilon(replace(LOCAL, data=DataConfig(negatives=7)), 2.0, 0)
    plan = device_plan(config, USERS)
    assert plan is not None
    shutil.rmtree(devices_folder(run, 2.0))
    ledgers.write_devices(run, config, plan)
    sealed_again(run)


def one_device_of_another_policy(run: Path) -> None:
    plan = device_plan(at_epsilon(LOCAL, 2.0, 0), USERS)
    assert plan is not None
    DeviceBudget(device(run, 11), plan, "0" * 64, None).spend_update(1)


def more_devices_than_users(run: Path) -> None:
    for user in range(11, USERS + 8):
        shutil.copy(device(run, 10), device(run, user))
    sealed_again(run)


def users(count: Any) -> Attack:
    return lambda run: save(run, {**load(run), "data": {"users": count}})


def unclaimed_folder(run: Path) -> None:
    shutil.copytree(devices_folder(run, 2.0), run / "devices" / "secret")


def folder_is_a_link(run: Path) -> None:
    place = devices_folder(run, 2.0)
    place.rename(run / "elsewhere")
    place.symlink_to(run / "elsewhere")


def devices_is_a_link(run: Path) -> None:
    (run / "devices").rename(run / "elsewhere")
    (run / "devices").symlink_to(run / "elsewhere")


def ledger_is_a_link(run: Path) -> None:
    device(run).rename(run / "elsewhere")
    device(run).symlink_to(run / "elsewhere")


def ledger_is_a_pipe(run: Path) -> None:
    device(run).unlink()
    os.mkfifo(device(run))


def name_that_forges_the_head(run: Path) -> None:
    """In the text that the head is the hash of, one name stands for two devices."""
    one, ten = Ledger.open(device(run, 1)), Ledger.open(device(run, 10))
    device(run, 1).unlink()
    place = devices_folder(run, 2.0)
    (place / ten.name).rename(place / f"{one.name} {len(one)} {one.head}\n{ten.name}")


def settings_say_user(run: Path) -> None:
    results = load(run)
    results["config"]["privacy"].update(unit="user", trust="central")
    del results["config"]["privacy"]["max_participations"]  # which those settings would not have
    save(run, results)


ATTACKS: dict[str, tuple[Attack, str]] = {
    "line removed": (lines(lambda old: [*old[:2], *old[3:]]), "line 3: edited, or a line before"),
    "line edited": (lines(lambda old: [*old[:2], old[2].replace(b'"round":1', b'"round":3')]), "3"),
    "lines swapped": (lines(lambda old: [*old[:2], old[3], old[2], old[4]]), "line 3: edited"),
    "last line removed": (lines(lambda old: old[:-1]), "cut, extended or rewritten"),
    "release added": (one_release_more, "cut, extended or rewritten"),
    "torn line": (lines(lambda old: [*old, b'{"cont']), "was cut off in writing"),
    "device removed": (device_removed, "cut, extended or rewritten"),
    "device added": (device_added, "cut, extended or rewritten"),
    "devices swapped": (devices_swapped, "cut, extended or rewritten"),
    "all devices removed": (all_devices_removed, "cannot be read"),
    "participations": (participation_over_the_limit, "a device took part more than 3 times"),
    "round after the last": (round_after_the_last, "in a round outside 1 to 4"),
    "less noise on a device": (less_noise_on_one_device, "update: claimed"),
    "another policy": (ledger_for_another_policy, "policy: the settings"),
    "one of another policy": (one_device_of_another_policy, "promise different things"),
    "more devices than users": (
        more_devices_than_users,
        "1001 devices' ledgers, but there are 1000 users",
    ),
    "fewer users than a cohort": (users(3), "there are 3 users; give at most that"),
    "more users": (users(10**6), "delta = 1e-05 claimed, the settings give 1e-08"),
    "folder unclaimed": (unclaimed_folder, "devices/secret: no point of results.json claims it"),
    "folder: link": (folder_is_a_link, "is a link"),
    "devices: link": (devices_is_a_link, "devices: not a folder of the run"),
    "ledger: link": (ledger_is_a_link, "'0.jsonl' is not the plain file"),
    "ledger: pipe": (ledger_is_a_pipe, "'0.jsonl' is not the plain file"),
    "ledger: forged name": (name_that_forges_the_head, "is not the plain file"),
    "settings of another unit": (settings_say_user, "unit = 'example' claimed, the settings give"),
    "epsilon smaller": (claim(epsilon=1.0), "epsilon = 1 claimed"),
    "target": (claim(epsilon_target=1.0), "epsilon_target = 1.0 claimed"),
    "delta": (claim(delta=1e-6), "delta = 1e-06 claimed, the settings give"),
    "unit": (claim(unit="user"), "unit = 'user' claimed, the settings give 'example'"),
    "trust": (claim(trust="central"), "trust = 'central' claimed, the settings give 'local'"),
    "relation": (claim(relation="replace_one"), "relation = 'replace_one' claimed, the settings"),
    "adversary": (claim(adversary=USER_CENTRAL), "claimed, the settings give 'the server, as long"),
    "steps": (claim(steps=1), "steps = 1 claimed, the settings give 2"),
    "steps huge": (claim(steps=10**9), "expected a whole number from 1"),
    "steps fraction": (claim(steps=2.0), "expected a whole number from 1"),
    "updates": (claim(updates=4), "updates = 4 claimed, the settings give 3"),
    "updates missing": (without("updates"), "updates = nan claimed"),
    "rounds": (claim(rounds=9), "rounds = 9 claimed, the settings give 4"),
    "rounds missing": (without("rounds"), "rounds = None claimed"),
    "clipping": (claim(clipping_norm=0.1), "clipping_norm = 0.1 claimed"),
    "noise": (claim(noise_multiplier=3.0), "update: claimed"),
    "sampling": (claim(sampling_probability=0.1), "sampling_probability = 0.1 claimed"),
    "histogram sampling": (claim(histogram_sampling=0.1), "histogram_sampling = 0.1 claimed"),
    "histogram hidden": (
        claim(histogram_noise_multiplier=None),
        "an event is claimed, and",
    ),
    "releases missing": (without("releases"), "expected an object of objects"),
    "releases hidden": (claim(releases={}), "shows a histogram release that the point does not"),
    "releases odd": (claim(releases={"update": 1}), "expected an object of objects"),
    "release invented": (
        claim(releases={"metrics": {"event": {}, "times": 1}}),
        "the ledger shows no metrics",
    ),
    "more often than planned": (
        claim(releases={"update": {"event": {}, "times": 1}}),
        "update: claimed 1 times at most",
    ),
    "epsilon by RDP": (claim(epsilon_rdp="low"), "epsilon_rdp = low claimed"),
    "folder of a long name": (
        claim(ledger={"file": f"devices/{'a' * 300}"}),
        "cannot be read: File name too long",
    ),
    "another epsilon": (claim(epsilon_user=0.1), "'points[].epsilon_user': no field"),
    "a second claim": (claim(example={"epsilon": 0.1}), "the settings give no such guarantee"),
    "a second claim, a list": (claim(example=[0.1]), "the settings give no such guarantee"),
    "another file": (claim(ledger={"file": "devices/../x"}), "not a name like"),
    "file of dots": (claim(ledger={"file": "devices/.."}), "not a name like"),
}


@pytest.mark.parametrize(("attack", "word"), ATTACKS.values(), ids=list(ATTACKS))
def test_finds_every_alteration_of_devices_ledgers(local: Path, attack: Attack, word: str) -> None:
    attack(local)
    found = said(local)
    assert word in found
    assert all(line.isprintable() for line in found.splitlines())


# An interrupted run.


def test_devices_of_an_interrupted_point_are_in_progress(local: Path) -> None:
    (local / "ledger-eps-inf-seed-0.jsonl").unlink()
    (devices_folder(local, 2.0) / "11.jsonl.part").write_bytes(b"{")  # a crash before a header
    report = verify_run(interrupt(local))
    assert report.ok, report.problems
    words = "devices/eps-2-seed-0: in progress, 4 devices, 10 releases recorded, not sealed yet"
    assert report.in_progress == (words,)


def test_a_line_that_a_crash_cut_off_is_in_progress(local: Path) -> None:
    whole = device(local).read_bytes()
    device(local).write_bytes(whole[:-7])
    report = verify_run(interrupt(local))
    assert report.ok, report.problems
    assert "9 releases recorded, not sealed yet; the last line of 1 was" in report.in_progress[0]
    assert device(local).read_bytes() == whole[:-7]  # verifying repairs nothing


@pytest.mark.parametrize(
    ("attack", "word"),
    [
        (lines(lambda old: [*old[:2], *old[3:]]), "line 3: edited"),
        (one_device_of_another_policy, "11.jsonl: was opened for other settings"),
        (unclaimed_folder, "devices/secret: no point of results.json claims it"),
        (ledger_is_a_link, "'0.jsonl' is not the plain file"),
        (folder_is_a_link, "is a link"),
    ],
    ids=["edited", "another policy", "unclaimed", "link", "folder link"],
)
def test_an_alteration_of_devices_in_progress_is_found(
    local: Path, attack: Attack, word: str
) -> None:
    attack(local)
    assert word in said(interrupt(local))


def test_what_devices_spent_is_shown_at_other_deltas(local: Path) -> None:
    """The least and the most of a device; what they all guarantee together is the most."""
    out = io.StringIO()
    print_deltas(verify_run(local), [1e-3, 1e-9], Console(file=out, width=200))
    lines = [line.split("; ") for line in out.getvalue().splitlines() if "epsilon 2, " in line]
    rows = [[cell.rpartition(" ")[2] for cell in line] for line in lines]
    record = DeviceLedgers.open(devices_folder(local, 2.0))
    for row, delta in zip(rows, (1e-3, 1e-9), strict=True):
        spent, least, most = (float(cell) for cell in row[-3:])
        assert (spent, most) == (pytest.approx(record.epsilon(delta), rel=1e-3), spent)
        assert least == pytest.approx(record.least(delta), rel=1e-3)
        assert 0 < least < most
