"""When an owner's device may compute: planted readings of a machine, and times of day."""

import stat
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import client.device.resident
from client.device import conditions
from client.device.conditions import Conditions, Machine, within
from client.device.folder import SETTINGS, DeviceFolder, Owned
from client.device.resident import SUM_SECONDS, Resident
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, Declined
from tests.support.privacy.policies import operator

MINUTES = 24 * 60
DAY = datetime(2026, 1, 5)
NOON = DAY.replace(hour=12)
minute = st.integers(0, MINUTES - 1)


def clock(at):
    return f"{at // 60:02}:{at % 60:02}"


class Planted(Machine):
    """A machine at noon, on mains, idle."""

    def __init__(self, root, at=NOON):
        super().__init__(root)
        self.at = at

    def time(self):
        return self.at


def plant(root, **supplies):
    """Files as Linux has them: `AC="Mains online=1"`."""
    for name, text in supplies.items():
        kind, *told = text.split(",")
        folder = root / "sys/class/power_supply" / name
        folder.mkdir(parents=True)
        (folder / "type").write_text(kind + "\n")
        for each in told:
            file, _, value = each.partition("=")
            (folder / file).write_text(value + "\n")


POWER = [
    ({}, ""),  # a desktop
    ({"AC": "Mains,online=1", "BAT0": "Battery,status=Charging"}, ""),
    ({"AC": "Mains,online=1", "BAT0": "Battery,status=Discharging"}, ""),  # holds its charge
    ({"AC": "Mains,online=0", "BAT0": "Battery,status=Discharging"}, "it runs on battery"),
    ({"BAT0": "Battery,status=Discharging"}, "it runs on battery"),
    ({"BAT0": "Battery,status=Full"}, ""),
    ({"BAT0": "Battery,status=Unknown"}, "it runs on battery"),
    ({"BAT0": "Battery"}, "it runs on battery"),  # it does not say
    ({"BAT0": "Battery,status=Full", "BAT1": "Battery,status=Discharging"}, "it runs on battery"),
    ({"usb": "USB,online=1", "BAT0": "Battery,status=Discharging"}, ""),
    ({"mouse": "Battery,scope=Device,status=Discharging"}, ""),
    ({"AC": "Mains,online=0"}, ""),  # a battery it has not
]


@pytest.mark.parametrize(("supplies", "told"), POWER)
def test_a_device_on_battery_waits(supplies, told, tmp_path):
    plant(tmp_path, **supplies)
    asked = Conditions(unmetered=False)
    assert asked.objection(Planted(tmp_path)) == told
    assert Conditions(charging=False, unmetered=False).objection(Planted(tmp_path)) == ""


@pytest.mark.parametrize(
    ("answer", "metered"),
    [
        *[("u 1\n", True), ("u 3\n", True), ("u 2\n", False), ("u 4\n", False), ("u 0\n", False)],
        *[("", False), ("s yes\n", False), ("u \n", False), ("u -1", False), ("u \xb9", False)],
    ],
)
def test_a_device_on_a_metered_network_waits(answer, metered, tmp_path, monkeypatch):
    def run(words, **_):
        assert words[0] == "busctl"
        return SimpleNamespace(stdout=answer.encode())

    monkeypatch.setattr(conditions.subprocess, "run", run)
    assert Conditions().objection(Planted(tmp_path)) == "its network is metered" * metered
    assert Conditions(unmetered=False).objection(Planted(tmp_path)) == ""


def test_where_nothing_tells_of_the_network_it_is_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Conditions().objection(Planted(tmp_path)) == ""


@pytest.mark.parametrize(("idle", "allowed"), [(100, True), (60, True), (40, False), (0, False)])
def test_a_busy_machine_waits(idle, allowed, tmp_path, monkeypatch):
    file = tmp_path / "proc/stat"
    file.parent.mkdir()

    def after(ticks):
        worked = 100 - ticks
        file.write_text(f"cpu  {worked} 0 0 {ticks - ticks // 2} {ticks // 2} 0 0 0 7 7\ncpu0 1\n")

    file.write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    monkeypatch.setattr(conditions.system, "sleep", lambda _: after(idle))
    told = Conditions(unmetered=False, busy=0.5).objection(Planted(tmp_path))
    assert (told == "") == allowed
    assert allowed or told.startswith(f"{100 - idle}% of its processors are at work")


def test_the_owners_program_decides(tmp_path, monkeypatch):
    def objection(text, mode=0o700):
        file = tmp_path / "may"
        file.write_text(text)
        file.chmod(mode)
        asked = Conditions(unmetered=False, charging=False, command=str(file))
        return asked.objection(Planted(tmp_path))

    assert objection("#!/bin/sh\nexit 0\n") == ""
    assert "did not end with 0" in objection("#!/bin/sh\nexit 1\n")
    assert "did not end with 0" in objection("#!/bin/sh\nexit 0\n", mode=stat.S_IRUSR)
    assert "did not end with 0" in objection("exit 0 without an interpreter\n")
    monkeypatch.setattr(conditions, "_PATIENCE", 0.1)
    assert "did not end with 0" in objection("#!/bin/sh\nexec sleep 5\n")
    gone = Conditions(unmetered=False, command=str(tmp_path / "none"))
    assert "did not end with 0" in gone.objection(Planted(tmp_path))


def test_this_machine_can_be_asked():
    machine = Machine()
    assert isinstance(machine.on_battery(), bool)
    assert isinstance(machine.metered(), bool)
    assert 0 <= machine.busy() <= 1
    assert Conditions(busy=1.0, charging=False, unmetered=False).objection(machine) == ""


@given(minute, minute, minute, st.integers(0, 59))
def test_a_window_and_the_rest_of_the_day_share_it(begin, end, now, second):
    at = DAY + timedelta(minutes=now, seconds=second)
    ours, others = f"{clock(begin)}-{clock(end)}", f"{clock(end)}-{clock(begin)}"
    if begin == end:
        with pytest.raises(ValidationError):
            Conditions(hours=ours)
        return
    assert within(ours, at) != within(others, at)
    assert within(ours, at) == ((now - begin) % MINUTES < (end - begin) % MINUTES)
    asked = Conditions(hours=ours, charging=False, unmetered=False)
    assert (asked.objection(Planted(Path(), at)) == "") == within(ours, at)


@given(minute, minute, st.sampled_from([datetime(2026, 3, 29), datetime(2026, 10, 25)]))
def test_a_change_of_clocks_takes_or_gives_the_hour_that_the_wall_shows(begin, end, day):
    """Minute by minute through a day of 23 or 25 hours: what is open is what the wall says."""
    if begin == end:
        return
    hours, zone = f"{clock(begin)}-{clock(end)}", ZoneInfo("Europe/Berlin")
    first = day.replace(tzinfo=zone).astimezone(ZoneInfo("UTC"))
    length = 23 if day.month == 3 else 25
    walls = [(first + timedelta(minutes=m)).astimezone(zone) for m in range(0, length * 60, 7)]
    inside = [within(hours, wall) for wall in walls]
    span = (end - begin) % MINUTES
    expected = [(w.hour * 60 + w.minute - begin) % MINUTES < span for w in walls]
    assert inside == expected


@pytest.mark.parametrize(
    "wrong",
    [{"hours": each} for each in ("", "22-6", "24:00-06:00", "22:00-06:00 ", "6:00-7:00", "6")]
    + [{"hours": "0٢:00-06:00"}, {"busy": 0.0}, {"busy": 1.5}, {"busy": float("nan")}]
    + [{"command": "may"}, {"command": "sh -c true"}, {"charging": "yes"}, {"hour": "any"}],
)
def test_what_is_no_condition_is_refused(wrong):
    with pytest.raises(ValidationError):
        Conditions(**wrong)


@pytest.fixture
def resident(tmp_path, monkeypatch):
    """A device whose machine stands at noon, by its gate alone: what it lets through is told."""
    catalogue = Catalogue(("a", "b"), ("A", "B"))
    owned = Owned("u", operator(), conditions=Conditions("11:00-13:00", unmetered=False))
    machine = Planted(tmp_path)
    device = Resident(DeviceFolder.begin(tmp_path / "state", owned, catalogue), machine=machine)
    monkeypatch.setattr(client.device.resident, "Stages", lambda *_: Through())
    monkeypatch.setattr(client.device.resident, "Device", lambda *_, **__: Through())
    return device, machine


class Through:
    """Whatever is asked comes through."""

    def answer(self, request):
        return "answered"


def asks(stage="", sealed=b""):
    return SimpleNamespace(
        stage=stage,
        sealed=sealed,
        round_number=3,
        config=SimpleNamespace(model=0, data=SimpleNamespace(catalogue=None)),
    )


BEGINS = [asks(), asks("keys"), asks("keys", b"sealed")]
CARRIES_ON = [asks(stage, b"sealed") for stage in ("seeds", "survivors", "unmask", "")]


def test_out_of_hours_nothing_begins_and_what_has_begun_is_carried_on(resident, monkeypatch):
    device, machine = resident
    device._kept["sum"] = b"keys"
    monkeypatch.setattr(client.device.resident, "sums_securely", lambda *_, **__: True)
    assert [device.answer(each, 2) for each in [*BEGINS, *CARRIES_ON]] == ["answered"] * 7
    machine.at = NOON.replace(hour=14)
    for each in BEGINS:
        with pytest.raises(Declined, match="it is 14:00, and its owner allows 11:00-13:00") as why:
            device.answer(each, 2)
        assert why.value.word == "owner"
    assert [device.answer(each, 2) for each in CARRIES_ON] == ["answered"] * 4
    with monkeypatch.context() as patch:
        patch.setattr(client.device.resident, "sums_securely", lambda *_, **__: False)
        with pytest.raises(Declined):  # sealed, about nothing that is summed
            device.answer(CARRIES_ON[-1], 2)
    late = client.device.resident._awake_or_not() + SUM_SECONDS
    monkeypatch.setattr(client.device.resident, "_awake_or_not", lambda: late)
    for each in CARRIES_ON:  # keys of the night give nobody the day
        with pytest.raises(Declined):
            device.answer(each, 2)
    device._kept.clear()
    kept = {file.name for file in device.folder.path.iterdir()}
    assert not kept & {"participation.jsonl", "clock.json", "agreement.json"}


def test_one_that_never_began_has_nothing_to_carry_on(resident):
    device, machine = resident
    machine.at = NOON.replace(hour=10)
    for each in CARRIES_ON:
        with pytest.raises(Declined):
            device.answer(each, 2)


def test_what_an_owner_edits_counts_from_the_next_request_on(resident):
    device, _ = resident
    file = device.folder.path / SETTINGS
    text = file.read_text()
    file.write_text(text.replace("11:00-13:00", "13:00-11:00"))
    with pytest.raises(Declined, match="its owner allows 13:00-11:00"):
        device.answer(asks(), 2)
    for old, new, told in (
        ("hours", "hour", "conditions.hour: is no setting; did you mean hours?"),
        ("threads", "thread", "limits.thread: is no setting; did you mean threads?"),
        ("11:00-13:00", "noon", 'conditions.hours: .*expected "any", or two'),
        ("[limits]", "[limit]", "limit: is no setting; did you mean limits?"),
    ):
        file.write_text(text.replace(old, new))
        with pytest.raises(ConfigError, match=told):
            device.answer(asks(), 2)
