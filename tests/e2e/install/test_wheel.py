"""The wheel, in an environment and a folder of its own: nothing of the checkout is looked for."""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.absent import hiding
from tests.support.deploy.installed import copied, files

# Lines of `starling` in one process: each in a process of its own imports torch again.
TYPE = """
import sys, starling
for line in {lines!r}:
    try:
        starling.main(line.split())
    except SystemExit as ended:
        if ended.code:
            sys.exit(f"{{line}}: {{ended.code}}")
"""


# Nothing that a caller's path or settings lead to.
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("STARLING", "PYTHON", "XDG"))}


def run(*words, cwd=None, env=CLEAN):
    line = list(map(str, words))
    done = subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: a build leaves folders beside the source."""
    place = tmp_path_factory.mktemp("wheel")
    copied(place / "source", "pyproject.toml", "README.md", "LICENSE")
    alone = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "wheel", *alone, "-w", place, "./source", cwd=place)
    (found,) = place.glob("starling-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`bin` of an environment with the wheel; what it depends on is read where it is here."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, symlinks=True)
    program = place / "bin" / "python"
    alone = ("--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile")
    run(sys.executable, "-m", "pip", "--python", program, "install", *alone, wheel)
    return place / "bin"


@pytest.fixture
def type_in(installed, tmp_path):
    """Run lines of `starling` in an empty folder, with an empty home."""
    # A folder on this path is searched after the working folder; its .pth files, by which the
    # checkout is found in an editable installation, are not read.
    found = {"PYTHONPATH": sysconfig.get_path("purelib"), "HOME": str(tmp_path / "home")}
    folder = tmp_path / "empty"
    folder.mkdir()

    def type_lines(*lines, without=()):
        code = hiding(without) + TYPE.format(lines=lines)
        return run(installed / "python", "-c", code, cwd=folder, env=CLEAN | found)

    type_lines.folder, type_lines.env = folder, CLEAN | found
    return type_lines


def test_the_wheel_holds_all_that_is_in_the_packages(wheel):
    """Presets, templates, styles, the page, units and images; and nothing of tests or data."""
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == files()
    packages = ("shared", "client", "server", "simulations")
    assert {f"{package}/py.typed" for package in packages} <= names
    kinds = {Path(name).suffix for name in names}
    assert kinds >= {".toml", ".html", ".css", ".js", ".svg", ".yaml", ".service", ".conf"}


def test_what_runs_is_the_wheel(type_in, installed):
    where = "import shared, starling; print(starling.__file__, shared.__file__)"
    found = run(installed / "python", "-c", where, cwd=type_in.folder, env=type_in.env).split()
    assert [installed.parent in Path(file).parents for file in found] == [True, True]
    assert "starling" in run(installed / "starling", "--version", env=type_in.env)


def test_a_simulation_from_an_empty_folder(type_in, tiny_bert):
    few = "--preset demo --users 30 --cohort 1 --rounds 1 --seeds 0 --references none --quiet"
    said = type_in(
        f"simulate --backbone {tiny_bert} {few} --epsilon 8 --out run",
        "verify run",
    )
    assert "Claims, ledgers and files agree." in said
    page = (type_in.folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "<style" in page
    assert {path.name for path in type_in.folder.iterdir()} == {"run"}


def test_a_device_from_an_empty_folder(type_in):
    """With what the extra `device` brings, and nothing of simulations."""
    said = type_in(
        "data world --out log --users 5",
        f"client init --state device --user u1 --operator {'ab' * 32} --items log --log log",
        "client budget --state device",
        "client export export.json --state device",
        "client forget --state device --yes",
        without=["matplotlib", "jinja2", "pyarrow", "ray", "pandas"],
    )
    assert "a device over 300 items" in said
    assert "nothing is spent" in said


TYPED = """
import starling
run = starling.simulate(data="world", epsilon=[2, 8])
reveal_type(run.points)
starling.simulate(epsilom=8)
starling.simulate(rounds="two")
"""


@pytest.mark.slow
def test_types_are_checked_against_the_wheel(installed, tmp_path):
    """From its py.typed files and stubs: an argument that is misspelt, a value of another type."""
    (site,) = installed.parent.glob("lib/python*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "caller.py").write_text(TYPED)
    words = ["--python-executable", str(installed / "python"), "caller.py"]
    line = [sys.executable, "-m", "mypy", *words]
    done = subprocess.run(
        line, cwd=tmp_path, env=CLEAN, capture_output=True, text=True, check=False
    )
    assert 'Revealed type is "pandas.core.frame.DataFrame"' in done.stdout
    assert 'caller.py:5: error: Unexpected keyword argument "epsilom"' in done.stdout
    assert "caller.py:6: error: Argument" in done.stdout
    assert "Found 2 errors" in done.stdout
