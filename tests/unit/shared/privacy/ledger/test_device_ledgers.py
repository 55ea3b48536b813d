"""Devices in parallel: the largest epsilon, never the sum; one head for all of them."""

import math
from dataclasses import replace

import pytest
from dp_accounting import ComposedDpEvent, GaussianDpEvent, NonPrivateDpEvent
from dp_accounting.pld import PLDAccountant

from shared.errors import ConfigError, LedgerError
from shared.privacy.ledger.chain import LedgerHeader
from shared.privacy.ledger.device_ledgers import DeviceLedgers, device_files
from shared.privacy.ledger.ledger import Ledger
from tests.support.privacy.guarantees import differing, promised

HEADER = LedgerHeader(
    promised(50.0, 1e-5, unit="example", trust="local", adversary="the server"), "p"
)
Z = 3.0


def write(folder, name, events, header=HEADER):
    folder.mkdir(exist_ok=True)
    ledger = Ledger.create(folder / f"{name}.jsonl", replace(header, identity=str(name)))
    for number, event in enumerate(events, start=1):
        ledger.append(number, "update", event)
    return ledger


def by_hand(*events) -> float:
    accountant = PLDAccountant()
    for event in events:
        accountant.compose(event)
    return accountant.get_epsilon(HEADER.guarantee.delta)


def test_epsilon_is_that_of_the_device_that_spent_the_most(tmp_path):
    gaussian = GaussianDpEvent(Z)
    folder = tmp_path / "run" / "point"
    folder.mkdir(parents=True)
    for name, times in (("a", 1), ("b", 4), ("c", 2), ("d", 0), ("e", 4)):
        write(folder, name, [gaussian] * times)
    ledgers = DeviceLedgers.open(folder)
    # z of four releases at once is z / sqrt(4); all eleven together would be a sum
    assert ledgers.epsilon() == pytest.approx(by_hand(GaussianDpEvent(Z / 2)), rel=1e-3)
    assert ledgers.epsilon() < 0.7 * by_hand(GaussianDpEvent(Z / math.sqrt(11)))
    assert ledgers.epsilon(1e-3) < ledgers.epsilon()
    assert (len(ledgers), ledgers.devices, ledgers.name) == (11, 5, "run/point")
    assert ledgers.header.guarantee.unit == "example"


def test_the_least_is_that_of_the_device_that_took_part_the_least(tmp_path):
    gaussian = GaussianDpEvent(Z)
    for name, times in (("a", 3), ("b", 4), ("c", 1)):
        write(tmp_path, name, [gaussian] * times)
    ledgers = DeviceLedgers.open(tmp_path)
    assert ledgers.least() == pytest.approx(by_hand(gaussian), rel=1e-3)
    assert ledgers.least(1e-3) < ledgers.least() < ledgers.epsilon()
    write(tmp_path, "d", [])  # a device that never took part spent nothing
    assert DeviceLedgers.open(tmp_path).least() == 0


def test_the_least_of_different_releases_is_found_among_all(tmp_path):
    write(tmp_path, "a", [GaussianDpEvent(6.0)] * 2)
    write(tmp_path, "b", [GaussianDpEvent(2.0)])
    assert DeviceLedgers.open(tmp_path).least() == pytest.approx(
        by_hand(GaussianDpEvent(6.0), GaussianDpEvent(6.0)), rel=1e-3
    )


def test_of_different_releases_the_costliest_history_counts_in_any_order(tmp_path):
    strong, weak = GaussianDpEvent(6.0), GaussianDpEvent(2.0)
    write(tmp_path, "a", [strong] * 5)
    write(tmp_path, "b", [weak, strong])
    write(tmp_path, "c", [strong, weak])
    write(tmp_path, "d", [weak])
    ledgers = DeviceLedgers.open(tmp_path)
    assert ledgers.epsilon() == pytest.approx(by_hand(weak, strong), rel=1e-3)
    assert len(ledgers.records()) == 4
    assert len(ledgers.histories()) == 2  # five strong ones; a weak and a strong one


def test_one_release_without_noise_is_no_privacy_for_all(tmp_path):
    unbounded = differing(HEADER, budget=math.inf)
    write(tmp_path, "a", [GaussianDpEvent(Z)], unbounded)
    write(tmp_path, "b", [NonPrivateDpEvent()], unbounded)
    assert DeviceLedgers.open(tmp_path).epsilon() == math.inf


def test_composed_releases_are_told_apart(tmp_path):
    composed = ComposedDpEvent([GaussianDpEvent(Z), GaussianDpEvent(Z)])
    write(tmp_path, "a", [composed])
    write(tmp_path, "b", [GaussianDpEvent(Z)])
    ledgers = DeviceLedgers.open(tmp_path)
    assert len(ledgers.records()) == 2
    assert ledgers.epsilon() == pytest.approx(by_hand(composed), rel=1e-3)


def test_the_head_stands_for_every_device_and_its_name(tmp_path):
    def head():
        return DeviceLedgers.open(tmp_path / "d").head

    one = write(tmp_path / "d", "a", [GaussianDpEvent(Z)])
    write(tmp_path / "d", "b", [GaussianDpEvent(Z)])
    seen = {head()}
    assert head() in seen
    one.append(2, "update", GaussianDpEvent(Z))
    seen.add(head())
    write(tmp_path / "d", "c", [])
    seen.add(head())
    (tmp_path / "d" / "a.jsonl").rename(tmp_path / "d" / "x.jsonl")
    seen.add(head())
    (tmp_path / "d" / "b.jsonl").rename(tmp_path / "d" / "a.jsonl")
    (tmp_path / "d" / "x.jsonl").rename(tmp_path / "d" / "b.jsonl")
    seen.add(head())
    (tmp_path / "d" / "c.jsonl").unlink()
    seen.add(head())
    assert len(seen) == 6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("unit", "user"),
        ("relation", "replace_one"),
        ("trust", "central"),
        ("adversary", "no one"),
        ("delta", 1e-4),
        ("settings", "q"),
        ("budget", 51.0),
    ],
)
def test_devices_that_promise_different_things_are_no_one_claim(tmp_path, name, value):
    write(tmp_path, "a", [])
    write(tmp_path, "b", [], differing(HEADER, **{name: value}))
    with pytest.raises(LedgerError, match="promise different things"):
        DeviceLedgers.open(tmp_path)


def test_a_folder_without_ledgers_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="no device ledger is there"):
        DeviceLedgers.open(tmp_path)
    with pytest.raises(LedgerError, match="cannot be read"):
        DeviceLedgers.open(tmp_path / "none")


def test_links_folders_and_forging_names_are_refused(tmp_path):
    write(tmp_path / "d", "a", [])
    assert [path.name for path in device_files(tmp_path / "d")] == ["a.jsonl"]
    (tmp_path / "link").symlink_to(tmp_path / "d")
    with pytest.raises(LedgerError, match="is a link"):
        device_files(tmp_path / "link")
    for name, make in (
        ("b.jsonl", lambda path: path.symlink_to(tmp_path / "d" / "a.jsonl")),
        ("c.jsonl", lambda path: path.mkdir()),
        ("a.jsonl 0 00\nd.jsonl", lambda path: path.write_text("")),
    ):
        path = tmp_path / "d" / name
        make(path)
        with pytest.raises(LedgerError, match="not the plain file") as caught:
            device_files(tmp_path / "d")
        assert "\n" not in str(caught.value)
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_release_that_no_accountant_covers_is_refused(tmp_path):
    nested = ComposedDpEvent([GaussianDpEvent(1e9)])
    path = write(tmp_path, "a", [], differing(HEADER, budget=math.inf)).path
    ledger = Ledger.open(path)
    with pytest.raises(ConfigError):
        ledger.append(1, "update", nested)


def test_many_ways_of_having_taken_part_cost_no_more_to_count(tmp_path):
    """Only who spent the most is accounted, once."""
    for times in range(30):
        write(tmp_path, str(times), [])
        ledger = Ledger.open(tmp_path / f"{times}.jsonl")
        ledger.admit([("update", GaussianDpEvent(20.0), times)])
        for number in range(times):
            ledger.append(number, "update", GaussianDpEvent(20.0))
    ledgers = DeviceLedgers.open(tmp_path)
    assert len(ledgers.records()) == 30
    ((step,),) = ledgers.histories()
    assert step == (GaussianDpEvent(20.0), 29)
