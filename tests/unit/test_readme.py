"""The README's figures are those of runs of its own commands, under the settings of now."""

import json
import re
import shlex
import subprocess
import sys
from importlib import import_module

import pytest

from shared.config import from_dict, load_toml
from shared.config.presets import preset_file
from simulations.results import Results
from tests.support import ROOT

OF_THE_RUN = {"backbone_sha256", "catalogue"}  # what was found, beside what was asked for


@pytest.fixture
def readme(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return import_module("readme")


def test_the_page_says_what_is_kept(readme):
    text = readme.PAGE.read_text(encoding="utf-8")
    assert readme.page_of(text) == text
    typed = text + (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, command in readme.COMMANDS.items():
        assert command in typed
        assert readme.kept(name)["command"] == command


def test_links_lead_somewhere(readme):
    """The site, which has no README, holds the links of all other pages."""
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", readme.PAGE.read_text(encoding="utf-8"))
    assert len(links) > 20
    for path, anchor in links:
        assert (ROOT / path).exists(), path
        if anchor:
            text = (ROOT / path).read_text(encoding="utf-8")
            heads = re.findall(r"^#+ (.+)", text, re.MULTILINE)
            assert anchor in [head.lower().replace(" ", "-") for head in heads]


def asked(command):
    """The settings that such a command has, as the file of a run names them."""
    _, _, *words = shlex.split(command)
    given = dict(zip(words[::2], words[1::2], strict=True))
    tree = load_toml(preset_file(given.pop("--preset")))
    tree["data"]["spec"] = given.pop("--data", "world")
    if "--epsilon" in given:
        tree["sweep"]["epsilons"] = [float(word) for word in given.pop("--epsilon").split(",")]
    del given["--out"]
    assert not given
    return from_dict(tree)


def now(settings, path):
    """What a setting is now; the kept value is looked for nowhere else."""
    for name in path:
        settings = settings.get(name) if isinstance(settings, dict) else getattr(settings, name)
    return settings


def leaves(tree, path=()):
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, name))
        elif name not in OF_THE_RUN:
            yield (*path, name), value


def apart(readme, name, kept):
    settings = asked(readme.COMMANDS[name])
    return [
        ".".join(path)
        for path, value in leaves(kept)
        if json.loads(json.dumps(readme.finite(plain(now(settings, path))))) != value
    ]


def plain(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", ["demo", "movielens-100k"])
def test_what_is_kept_was_measured_under_the_settings_of_now(readme, name):
    """A preset or a default that changed since: run the command again, and `--keep` it."""
    kept = readme.kept(name)["settings"]
    assert apart(readme, name, kept) == []
    kept["federation"]["rounds"] += 1
    kept["sweep"]["seeds"] = [0]
    assert apart(readme, name, kept) == ["federation.rounds", "sweep.seeds"]


def test_another_figure_is_seen(readme):
    text = readme.PAGE.read_text(encoding="utf-8")
    told = readme.kept("movielens-100k")
    row = next(r for r in told["rows"] if (r["name"], r["epsilon"]) == ("federated", 8.0))
    shown = readme._cell(row["metrics"]["hr@10"])
    assert shown in text
    row["metrics"]["hr@10"]["mean"] += 0.001
    assert readme.movielens(told) not in text
    assert readme.page_of(text.replace(shown, ".999")) == text


def test_a_run_that_says_something_else_is_told(readme, monkeypatch):
    """A mean beyond the kept interval, and a point that one of both lacks."""
    told = readme.kept("demo")
    monkeypatch.setattr(readme, "figures", lambda results: json.loads(json.dumps(told)))
    assert readme.apart(told, Results({})) == []
    other = json.loads(json.dumps(told))
    other["rows"][0]["metrics"]["hr@10"]["mean"] = 0.99
    gone = other["rows"].pop()
    monkeypatch.setattr(readme, "figures", lambda results: other)
    seen = readme.apart(told, Results({}))
    assert len(seen) == 2
    assert any("hr@10 0.9900, kept [" in line for line in seen)
    assert any(line.startswith(gone["name"]) for line in seen)


def test_speeds_are_those_of_the_results(readme):
    found = json.loads((ROOT / "benchmarks/results/speed_cpu.json").read_text())
    (size,) = (size for size in found["sizes"] if size["size"] == "minilm")
    rates = {r["peer"]: r["updates_per_second"] for r in size["rows"] if r["unit"] == "none"}
    told = readme.speed(found)
    assert told in readme.PAGE.read_text(encoding="utf-8")
    for peer in ("sequential", "pfl", "flower"):
        assert f"{rates['ours'] / rates[peer]:.1f} times" in told


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", ["demo", "movielens-100k"])
def test_a_run_of_the_command_says_what_the_page_says(readme, name, request, tmp_path):
    if name != "demo":
        request.getfixturevalue("movielens")
    program, command, *words = shlex.split(readme.COMMANDS[name])
    words[words.index("--out") + 1] = str(tmp_path / "run")
    line = [sys.executable, "-m", program, command, *words, "--quiet"]
    subprocess.run(line, cwd=ROOT, check=True)
    results = Results.read(tmp_path / "run" / "results.json")
    assert readme.apart(readme.kept(name), results) == []
