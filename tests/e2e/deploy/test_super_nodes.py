"""Five SuperNodes, each with a device's process, and one of these killed in the middle of a sum."""

import contextlib
import json
import subprocess
import time

import numpy as np
import pytest

from client.secagg.turns import FILE
from server.checkpoint import load
from server.prepare import prepare
from shared.data.sources import open_log
from shared.privacy.contribution.histogram import user_histogram
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import run_files
from shared.secagg.participant import Stage
from tests.support.federations import point_config
from tests.support.running.devices import Served
from tests.support.running.nodes import model_of, write_log
from tests.support.running.superlink import end, program, superlink, supernode, unpack

PEOPLE, KILLED = 5, 2


@pytest.fixture
def log(tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    return write_log(folder, PEOPLE)


@contextlib.contextmanager
def people(environment, folder, log, operator):
    """A device of a process of its own for each, and a SuperNode that asks it."""
    with contextlib.ExitStack() as stack:
        devices = []
        for user in range(PEOPLE):
            devices.append(Served(folder / "devices", str(log), user, operator=operator).start())
            stack.callback(devices[-1].end)
            devices[-1].caps("epsilon = inf")
        for user, device in enumerate(devices):
            node = supernode(environment, folder / f"node-{user}", device.ready().node())
            stack.callback(end, node)
        yield devices


def stage(state):
    """Which stage of a sum a device answered last."""
    file = state / FILE
    return json.loads(file.read_text())["stage"] if file.exists() else 0


def taken(state):
    file = state / "participation.jsonl"
    return [entry.release for entry in Ledger.recover(file).entries] if file.exists() else []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_device_killed_in_a_sum_is_left_out_of_it_and_nothing_else(log, tiny_bert, tmp_path):
    """Exact sums, without noise: the histogram is that of the four who were left."""
    federation = {"rounds": 1, "cohort": 1.0, "secure_aggregation": "auto"}
    config = point_config(
        tiny_bert, epsilon=float("inf"), federation=federation, model={"moments_rank": 0}
    )
    whose = public_hex(load_or_create_signing_key(tmp_path / "home" / "starling"))
    made = prepare(model_of(str(log), config.model), config, tmp_path / "run")
    files = run_files(tmp_path / "run", str(made["name"]))
    told = " ".join(f"{name}='{value}'" for name, value in made.items()) + f" users={PEOPLE}"
    with (
        superlink(tmp_path / "home", simulation=False) as environment,
        people(environment, tmp_path, log, whose) as devices,
    ):
        states = [device.state for device in devices]
        app = unpack(tmp_path / "app")
        time.sleep(10)  # until all have connected; a run with fewer says so
        run = subprocess.Popen(
            [program("flwr"), "run", ".", "--stream", "--run-config", told],
            cwd=app,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        while stage(states[KILLED]) < Stage.SHARED:
            assert run.poll() is None, run.stdout.read()
            time.sleep(0.1)
        devices[KILLED].kill()
        if "histogram" in taken(states[KILLED]):
            pytest.skip("it was too slow to be killed before it answered")
        out, _ = run.communicate()
    assert "after 1 round(s)" in out, out
    people_log = open_log(str(log))
    state = load(files.checkpoint)
    left = [user for user in range(PEOPLE) if user != KILLED]
    expected = sum(user_histogram(people_log.history(user), 8) for user in left)
    np.testing.assert_allclose(state.popularity, expected, atol=PEOPLE * 2.0**-23)
    assert all(taken(states[user]) == ["histogram", "update"] for user in left)
    assert json.loads(files.outcome.read_text())["rounds"] == 1
