"""A real deployment is sealed and verified like a simulation."""

import io
import json
import shutil

import pytest
from rich.console import Console

import starling
from server.results import refuse_another
from shared.errors import ConfigError, DataError
from shared.privacy.ledger.seal import sealed_files, write_sealed
from shared.run_files import run_files
from simulations.commands.verify import print_report
from simulations.verify.run import verify_run
from tests.support.command import command, results


def test_a_real_run_verifies_as_it_stands(deployed):
    done = command("verify", deployed)
    assert done.code == 0, done.out
    assert "Claims, ledgers and files agree." in done.out
    assert "user, central" in done.out


def test_nothing_of_who_answered_is_in_its_results(deployed):
    found = results(deployed)
    (point,) = found["points"]
    for name in ("seconds", "history", "metrics", "validation"):
        assert name not in point
    assert found["data"] == {"users": 6}
    assert "participants" not in json.dumps(found)
    assert point["noise"] == "from the operating system's generator"


def test_what_a_real_run_keeps_back_is_not_shown_and_named(deploy, tmp_path):
    """Its ledger says that metrics were released: whoever reads the rest is told which are not."""
    run = shutil.copytree(deploy(metrics_share=0.2), tmp_path / "run")
    assert command("verify", run).code == 0
    found = results(run)
    (release,) = found["points"][0]["released_metrics"]["releases"]
    found["points"][0]["released_metrics"]["releases"] = []
    write_sealed(run / "results.json", found, sealed_files(found))
    done = command("verify", run)
    assert done.code == 4, done.out
    assert f"NOT SHOWN: released_metrics: not told of round {release['round']}" in done.out
    assert "verdict not told" in done.out
    (row,) = json.loads(command("verify", run, "--json").out)["rows"]
    assert row["verdict"] == "not told"


def test_python_shows_what_a_real_run_says(deployed):
    """Its point and its promise; of what was measured there is nothing."""
    real = starling.load_run(deployed)
    (point,) = real.points.to_dict("records")
    assert (point["point"], point["unit"], point["delta"]) == ("p", "user", 1e-2)
    assert point["epsilon"] <= point["epsilon_target"] * (1 + 1e-6)
    assert real.points[["hr@10", "users", "seconds"]].isna().all(axis=None)
    assert real.rounds.empty
    assert real.references.empty
    assert "User-level epsilon" in real._repr_html_()
    for shown in (real.report, real.curve):
        with pytest.raises(DataError, match="no exact metric leaves a device"):
            shown()
    assert real.adapter(point["epsilon_target"]).path.is_file()
    assert real.verify().exit_code == 0


def test_the_table_fits_a_terminal_and_says_delta_and_why_figures_differ(deployed, run):
    for folder in (deployed, run):
        screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
        print_report(verify_run(folder), screen)
        lines = screen.file.getvalue().splitlines()
        end = next(number for number, line in enumerate(lines) if line.startswith("PLD counts"))
        assert any("─" in line for line in lines[:end])
        assert max(map(len, lines[:end])) <= 80
        assert any("delta" in line and "verdict" in line for line in lines[:end])
        assert "RDP bounds the same loss by its moments alone" in lines[end]


def test_no_row_agrees_where_a_file_of_the_run_is_wrong(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "report.html").write_text("<p>another</p>")
    done = command("verify", copy)
    assert done.code == 3
    rows = [line for line in done.out.splitlines() if line.startswith("point ")]
    assert rows
    assert all(line.endswith("; verdict see below") for line in rows), done.out


def test_json_holds_what_is_printed(deployed):
    done = command("verify", deployed, "--json", "--deltas", "1e-3")
    page = json.loads(done.out)
    assert (page["exit_code"], page["vouched"], page["problems"]) == (0, True, [])
    (row,) = page["rows"]
    assert (row["promise"], row["delta"], row["verdict"]) == ("user, central", 1e-2, "agrees")
    assert row["epsilon"] <= row["epsilon_rdp"]
    assert row["epsilon"] < row["at_deltas"]["0.001"]
    assert page["key"] in page["signer"]


def test_the_key_is_hex_or_a_file(deployed, tmp_path):
    key = command("policy", "key").out.strip()
    (tmp_path / "key").write_text(f"{key}\n")
    for given in (key, key.upper(), tmp_path / "key"):
        assert command("verify", deployed, "--key", given).code == 0
    assert command("verify", deployed, "--key", "0" * 64).code == 3
    assert command("verify", deployed, "--key", "abc").code == 2


def test_who_has_no_key_is_told_so_with_a_code_of_its_own(deployed, tmp_path, monkeypatch):
    key = command("policy", "key").out.strip()
    monkeypatch.setenv("STARLING_HOME", str(tmp_path))
    done = command("verify", deployed)
    assert done.code == 4
    assert f"sealed by {key}, whom nobody vouches for" in done.out
    assert "NOT SHOWN" in done.out
    assert command("verify", deployed, "--key", key).code == 0
    assert not (tmp_path / "keys").exists()  # verifying makes no key


def test_an_adapter_says_what_it_promises(deployed, run):
    real = command("policy", "show", next(deployed.glob("adapters/*"))).out
    assert "user-level epsilon 2 at delta 0.01 (zero_out, central trust; ledger" in real
    assert "against anyone who sees every released adapter" in real
    assert "noise from the operating system's generator" in real
    seeded = run / "adapters" / "eps-2-seed-0.safetensors"
    said = command("policy", "show", seeded).out.strip()
    assert "noise seeded: not for release" in said
    asked = ("--data", "world", "--users", 40, "--adapter")
    assert said in command("evaluate", *asked, seeded).out
    assert said in command("recommend", *asked, seeded, "--user", "u1").out
    page = json.loads(command("evaluate", *asked, seeded, "--json").out)
    head = results(run)["points"][0]["ledger"]["head"]
    assert page["promise"]["guarantees"][0]["ledger_head"] == head
    nothing = command("policy", "show", run / "adapters" / "eps-inf-seed-0.safetensors").out
    assert "no guarantee (epsilon inf" in nothing


def test_what_devices_noise_is_on_their_own_ledgers_and_not_shown(deploy):
    """Nothing here disagrees, and nothing here shows what they spent."""
    folder = deploy(unit="example", trust="local")
    done = command("verify", folder)
    assert done.code == 4, done.out
    assert "each device's own ledger shows it" in done.out
    found = results(folder)
    said = command("policy", "show", next(folder.glob("adapters/*"))).out
    assert "example-level epsilon 2 at delta 0.01 (zero_out, local trust; at most, on each" in said
    z, releases = found["points"][0]["noise_multiplier"], found["points"][0]["releases"]
    twice = json.loads(json.dumps(releases).replace(str(z), str(2 * z)))
    assert twice != releases
    for claimed, said in (
        ({"epsilon": 0.1}, "epsilon claimed"),
        ({"ledger": {}}, "ledger claimed"),
        ({"epsilon_target": 1.0}, "epsilon 1, seed 5: not in the settings' sweep"),
        ({"noise_multiplier": 2 * z}, "noise_multiplier = "),
        ({"releases": twice}, "releases.update.event."),
        ({"noise_multiplier": 2 * z, "releases": twice}, "noise_multiplier = "),
        ({"meaning": {"exceeds": 0.0, "group": 1, "groups": {}, "seen": []}}, "meaning claimed"),
        ({"released_metrics": {"releases": []}}, "released_metrics claimed"),
    ):
        altered = {**found, "points": [found["points"][0] | claimed]}
        write_sealed(folder / "results.json", altered, sealed_files(found))
        done = command("verify", folder)
        assert done.code == 3, claimed
        assert said in done.out


def test_an_interrupted_real_run_is_in_progress_and_resumes(deploy):
    class Stopped(Exception):
        pass

    def stop(entry):
        raise Stopped

    with pytest.raises(Stopped):
        deploy(on_round=stop)
    folder = deploy.folder / "run"
    done = command("verify", folder)
    assert done.code == 4, done.out
    assert "ledger-p.jsonl: in progress" in done.out
    assert "INCOMPLETE: 0 of 1 planned points" in done.out
    deploy(again=True)
    assert command("verify", folder).code == 0


def test_one_folder_is_of_one_run(deployed, tmp_path):
    copy = shutil.copytree(deployed, tmp_path / "copy")
    refuse_another(run_files(copy, "p"))
    with pytest.raises(ConfigError, match=r"ledger-p\.jsonl: is of another run"):
        refuse_another(run_files(copy, "q"))
    (copy / "ledger-p.jsonl").unlink()
    with pytest.raises(ConfigError, match=r"results\.json: is of another run"):
        refuse_another(run_files(copy, "q"))
