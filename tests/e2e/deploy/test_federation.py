"""`starling federation up`: the real thing, and that it computes what a simulation does."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from server.up.folder import ServerFolder
from server.up.status import in_words, metrics, status_of
from shared.config import dump_toml, from_dict, load_toml
from shared.data.sources import open_log
from shared.privacy.plan.summed import summed_form
from shared.published import check_files, read_manifest
from simulations.loopback.federation import Federation, Settings
from tests.support import ROOT
from tests.support.federations import point_config
from tests.support.privacy.noised import FALSE_ALARM, noise_p
from tests.support.running.nodes import write_log

PEOPLE, ROUNDS = 3, 2


@pytest.fixture(scope="module")
def settings(tiny_bert, tmp_path_factory):
    """No noise, no cohort drawn, a server whose step is linear in the sum: small errors stay so."""
    federation = {
        "rounds": ROUNDS,
        "cohort": 1.0,
        "secure_aggregation": "auto",
        "server_optimizer": "fedavgm",
        "server_lr": 0.3,
    }
    config = point_config(
        tiny_bert,
        epsilon=math.inf,
        federation=federation,
        model={"moments_rank": 0},
        privacy={"delta": 1e-5},
        sweep={"epsilons": [math.inf], "seeds": [0], "references": []},
        seed=0,
    )
    file = tmp_path_factory.mktemp("settings") / "settings.toml"
    file.write_text(dump_toml(config))
    return file


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return write_log(tmp_path_factory.mktemp("log"), PEOPLE)


@pytest.fixture(scope="module")
def federation(settings, log, tmp_path_factory):
    """One that has run, and what it said."""
    said = []
    asked = Settings(PEOPLE, ROUNDS, math.inf, (), ("--config", str(settings)))
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("home")
        patch.setenv("STARLING_HOME", str(home))
        made = Federation(tmp_path_factory.mktemp("up") / "federation", asked, said.append)
        made.run(open_log(str(log)))
        yield made, said


@pytest.mark.slow
def test_it_ends_in_a_run_that_verifies_and_a_signed_release(federation):
    made, said = federation
    assert "Claims, ledgers and files agree." in said
    assert "by the owners' hand, beyond what a device allows by itself: epsilon = inf" in said
    folder = ServerFolder(made.server)
    manifest = read_manifest(
        (folder.releases / "1" / "release.json").read_bytes(), folder.served.operator
    )
    check_files(manifest, folder.releases / "1")
    found = status_of(folder)
    assert (found["run"], found["rounds_done"], found["release"]) == ("complete", ROUNDS, 1)
    assert found["nodes_enrolled"] == PEOPLE
    assert f"{ROUNDS} of {ROUNDS} rounds" in in_words(found)
    assert f"starling_rounds_done {ROUNDS}" in metrics(found)


@pytest.mark.slow
def test_none_of_its_processes_is_left(federation):
    made, _ = federation
    mine = str(made.out).encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue
        assert mine not in words, words


@pytest.mark.slow
def test_its_adapter_is_a_simulations(federation, settings, log, tmp_path):
    """Within one step a round of the grid that contributions travel on."""
    made, _ = federation
    words = ["--config", settings, "--data", log, "--out", tmp_path / "run", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, ROOT / "starling.py", "simulate", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"STARLING_HOME": str(tmp_path / "home")},
    )
    name = "adapters/eps-inf-seed-0.safetensors"
    real, simulated = (load_file(at / name) for at in (made.server / "run", tmp_path / "run"))
    assert real.keys() == simulated.keys(), done.stderr
    step = summed_form(ServerFolder(made.server).config, PEOPLE, "update", 1).grid.step
    for each in real:
        np.testing.assert_allclose(real[each], simulated[each], rtol=0, atol=ROUNDS * step)


@pytest.mark.slow
@pytest.mark.usefixtures("flower")
def test_its_noise_is_what_its_ledger_states(settings, log, tmp_path, monkeypatch):
    """Of processes and their secure generator, through relays and secure sums; one round."""
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    tree = from_dict(load_toml(settings))
    once = replace(tree.federation, rounds=1, popularity_start=False)
    file = tmp_path / "settings.toml"
    file.write_text(dump_toml(replace(tree, federation=once)))
    made = Federation(
        tmp_path / "federation", Settings(PEOPLE, 1, 8.0, (), ("--config", str(file))), print
    )
    made.run(open_log(str(log)))
    folder = ServerFolder(made.server)
    real, config = load_file(folder.files.adapter), folder.config
    found = noise_p(real, folder.files.ledger, config, str(log), PEOPLE, tmp_path / "virtual")
    assert found > FALSE_ALARM


@pytest.mark.slow
def test_a_server_that_is_killed_goes_on_with_its_run(settings, log, tmp_path, monkeypatch):
    """kill -9 of the server, then of its SuperLink alone: rounds done stay done."""
    monkeypatch.setenv("STARLING_HOME", str(tmp_path / "home"))
    asked = Settings(PEOPLE, 4, math.inf, (), ("--config", str(settings)))
    killed = []

    class Killing(Federation):
        def _check(self):
            super()._check()
            rounds = sum(line.startswith("round ") for line in self._said())
            if rounds == len(killed) + 1 and len(killed) < 2:
                killed.append(self.kill(("server", "flower-superlink")[len(killed)]))

        def _said(self):
            file = self.out / "logs" / "server.log"
            return file.read_text().splitlines() if file.exists() else []

        def kill(self, what):
            if what == "server":
                os.kill(self._children["server"].pid, signal.SIGKILL)
                self._children["server"].wait()
                time.sleep(1)
                self._serve()
            else:
                state = status_state(self.server)
                os.kill(state["children"][what], signal.SIGKILL)
            return what

    made = Killing(tmp_path / "federation", asked, lambda line: None)
    made.run(open_log(str(log)))
    assert killed == ["server", "flower-superlink"]
    assert status_of(ServerFolder(made.server))["run"] == "complete"


def status_state(server):
    return json.loads((server / "superlink" / "state.json").read_text())
