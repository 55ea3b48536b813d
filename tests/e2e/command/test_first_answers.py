"""The first minute: what is loaded before an answer, words that are nearly right, completion."""

import json
import math
import os
import re
import subprocess
import sys

import pytest

import starling
from shared.config import at_epsilon, from_dict, load_toml
from shared.config.load import settings_names
from shared.config.presets import preset_file, preset_names
from shared.data.names import NAMES, WORLD
from shared.data.sources import known_sources
from simulations.commands.options.flags import accepted_words, default_of
from simulations.commands.simulate import _FLAGS
from tests.support import ROOT
from tests.support.command import command, script

MODEL = {"torch", "transformers", "opacus", "peft"}
NETWORK = {"flwr", "ray", "grpc"}
NUMBERS = {"numpy", "scipy", "pandas", "pyarrow", "dp_accounting", "matplotlib"}
HELP = (
    *("", "simulate", "verify", "account", "evaluate", "recommend", "doctor", "policy", "data"),
    *(f"policy {name}" for name in ("key", "make", "show", "check", "spent")),
    *(f"data {name}" for name in ("ls", "inspect", "fetch", "world")),
)
ACCOUNT = "account --noise 1 --rounds 3 --sampling 1 --users 40"
# What answers are given without: it would be waited for.
FORBIDDEN = {
    "accounts": (
        (ACCOUNT, "policy spent owned", "policy show POLICY", "policy check POLICY --operator KEY"),
        MODEL | NETWORK | {"pandas", "pyarrow", "matplotlib"},
    ),
    "data": (
        ("data ls", "data world --out w --users 5"),
        MODEL | NETWORK | {"dp_accounting", "matplotlib"},
    ),
    "a world": (
        ("data inspect world --users 5", "data inspect world --users 5 --json"),
        MODEL | NETWORK | NUMBERS - {"numpy"},
    ),
    "no numbers": (
        ("policy key", "simulate --preset nope", "--show-completion bash"),
        MODEL | NETWORK | NUMBERS,
    ),
}
RUN = """
import sys, starling
for line in {lines!r}:
    try:
        starling.main(line.split())
    except SystemExit as stop:
        assert stop.code in {codes}, (line, stop.code)
sys.stdout.write("\\n" + " ".join({{name.partition(".")[0] for name in sys.modules}}))
"""


def loaded(lines, codes, folder, **variables):
    """Top-level packages in a process that ran commands one after the other."""
    code = RUN.format(lines=lines, codes=codes)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_that_is_waited_for(tmp_path):
    found = loaded([f"{name} --help" for name in HELP], (0,), tmp_path)
    assert {"click", "typer"} <= found
    assert found & (MODEL | NETWORK | NUMBERS) == set()


@pytest.mark.parametrize("kind", FORBIDDEN)
def test_an_answer_loads_no_more_than_it_needs(kind, run, tmp_path):
    (tmp_path / "owned").mkdir()
    (tmp_path / "owned" / "caps.toml").write_text("")
    policy = str(run / "points" / "eps-2-seed-0.policy.json")
    lines, forbidden = FORBIDDEN[kind]
    asked = [line.replace("POLICY", policy).replace("KEY", "0" * 64) for line in lines]
    found = loaded(asked, (0, 2, 3), tmp_path)
    assert found & forbidden == set()
    if kind == "accounts":  # otherwise nothing was seen
        assert {"scipy", "dp_accounting"} <= found


def test_an_answer_on_a_narrow_screen_is_whole():
    words = "account --epsilon 8 --rounds 40 --sampling 0.1 --users 943"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "40")
        narrow = command(*words.split()).out
    assert "…" not in narrow
    assert "noise multiplier 0.704" in narrow
    assert narrow == command(*words.split()).out  # into a pipe no width counts


def leaves(group, words=()):
    """Every command that is typed, with its words."""
    context = group.context_class(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        if hasattr(found, "list_commands"):
            yield from leaves(found, (*words, name))
        else:
            yield (*words, name), found


def test_no_option_of_any_command_is_taken_twice():
    """Of two values the last would count, and nothing say that the first did not."""
    tried = [
        (*words, flag)
        for words, leaf in leaves(starling.command_line())
        for option in leaf.params
        if not getattr(option, "is_flag", True)
        for flag in option.opts
    ]
    assert len(tried) > 60
    for *words, flag in tried:
        done = command(*words, flag, "1", flag, "2")
        assert done.code == 2, (words, flag)
        assert done.error.startswith(f"error: {flag} is given twice"), (words, flag, done.error)


# Words that are nearly right, and what is meant.
MEANT = {
    "simulat": "simulate",
    "--hepl": "--help",
    "data inspct": "inspect",
    "policy chek": "check",
    "simulate --roundz 3": "--rounds",
    "doctor --jsn": "--json",
    "simulate --preset defualt": "default",
    "simulate --data movielens100k": "movielens-100k",
    "data inspect wrold": "world",
    "data fetch movielens_100k": "movielens-100k",
    "simulate --unit usr": "user",
    "simulate --trust centrl": "central",
    "simulate --mechanism dpftrl": "dp_ftrl",
    "simulate --aggregation fedid": "fedit",
    "simulate --engine cohrt": "cohort",
    "simulate --device cud": "cuda",
    "simulate --dtype float": "float32",
    "simulate --references popularity,zeroshot": "zero_shot",
    "evaluate --data world --adapter x --phase tests": "test",
    "account --relation zero-out": "zero_out",
    "simulate --config round.toml": "federation.rounds",
    "simulate --config moved.toml": "federation.rounds",
    "simulate --config section.toml": "federation",
    "simulate --config private.toml": "model.lora_rank",
}
FILES = {
    "round.toml": "[federation]\nround = 3\n",
    "moved.toml": "rounds = 3\n",
    "section.toml": "[federatoin]\nrounds = 3\n",
    "private.toml": "[private.model]\nlora_rnk = 2\n",
}


@pytest.mark.parametrize("line", MEANT)
def test_a_word_that_is_nearly_right_is_answered_with_the_nearest(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    if line.startswith("doctor"):
        done = subprocess.run(
            [script(), *line.split()], capture_output=True, text=True, check=False
        )
        code, error = done.returncode, done.stderr
    else:
        done = command(*line.split())
        code, error = done.code, done.error
    assert code == 2
    assert f"; did you mean {MEANT[line]}?" in error, error


@pytest.mark.parametrize("line", ["simulate --nope", "frobnicate", "simulate --unit xyzzy"])
def test_a_word_that_is_near_to_nothing_gets_no_suggestion(line):
    done = command(*line.split())
    assert done.code == 2
    assert "did you mean" not in done.error
    assert "--no-quiet" not in done.error


# What is typed, with the word that is completed last, and what must, and must not, be offered.
TYPED = {
    "": ({"simulate", "doctor", "data"}, set()),
    "sim": ({"simulate"}, {"verify"}),
    "simulate --pre": ({"--preset"}, {"--data"}),
    "simulate --preset d": ({"default", "demo", "dp_ftrl"}, {"items"}),
    "simulate --data m": ({"movielens-100k", "movielens-1m"}, {WORLD}),
    "simulate --aggregation fed": ({"fedit", "fedsvd"}, {"ffa"}),
    "simulate --references popularity,z": ({"popularity,zero_shot"}, {"popularity"}),
    "simulate --trust ": ({"central", "distributed", "local"}, set()),
    "simulate --config se": (set(), {"se"}),  # nothing is offered: the shell completes paths
    "data ": ({"ls", "inspect", "fetch", "world"}, {"simulate"}),
    "data inspect w": ({WORLD}, {"movielens-1m"}),
    "data fetch movielens-1": ({"movielens-100k", "movielens-1m"}, set()),
    "policy ": ({"key", "make", "show", "check", "spent"}, set()),
    "policy make --preset it": ({"items"}, {"demo"}),
    "evaluate --phase ": ({"test", "validation"}, set()),
    "account --relation z": ({"zero_out"}, {"replace_one"}),
    "doctor --": ({"--json"}, set()),
    "verify --d": ({"--deltas"}, set()),
}


def completed(line, shell, monkeypatch):
    """As the shell's script asks: the words, and in bash the place of the last of them."""
    monkeypatch.setenv("_STARLING_COMPLETE", f"complete_{shell}")
    whole = f"starling {line}"
    monkeypatch.setenv("COMP_WORDS", whole)
    monkeypatch.setenv("COMP_CWORD", str(len(whole.split()) - (not whole.endswith(" "))))
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", whole)
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    return command().out


@pytest.mark.parametrize("shell", starling.SHELLS)
@pytest.mark.parametrize("line", TYPED)
def test_a_word_is_completed(line, shell, monkeypatch):
    offered = completed(line, shell, monkeypatch)
    found = set(re.findall(r"[\w,-]+", offered)) if shell == "zsh" else set()
    found = found or {row.split("\t")[0] for row in offered.splitlines()}
    wanted, unwanted = TYPED[line]
    assert wanted <= found, offered
    if shell != "zsh":  # which is told what each does, too
        assert not unwanted & found, offered


def test_bash_completes_with_the_script_that_is_printed():
    printed = command("--show-completion", "bash")
    assert printed.code == 0
    ask = 'COMP_WORDS=(starling simulate --preset d); COMP_CWORD=3; _starling_completion "$0"; '
    done = subprocess.run(
        ["bash", "-c", f'{printed.out}\n{ask} echo "${{COMPREPLY[@]}}"', script()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["default", "demo", "dp_ftrl"]


def test_completion_is_installed_where_the_shell_reads_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    done = command("--install-completion", "bash")
    assert (done.code, done.err) == (0, "")
    assert "starling" in (tmp_path / ".bashrc").read_text()
    refused = command("--install-completion", "tcsh")
    assert (refused.code, "bash, zsh, fish" in refused.error) == (2, True)


def test_completion_loads_nothing_that_is_waited_for(tmp_path):
    variables = {"_STARLING_COMPLETE": "complete_bash", "COMP_CWORD": "3"}
    variables["COMP_WORDS"] = "starling simulate --data m"
    found = loaded(["x"], (0, 1), tmp_path, **variables)
    assert found & (MODEL | NETWORK | NUMBERS) == set()


def test_names_are_those_of_the_readers():
    assert (WORLD, *(source.name for source in known_sources())) == NAMES


def test_help_says_what_a_flag_takes_and_what_it_is_by_default(monkeypatch):
    """In 80 columns, in groups; from the settings that a run without flags has."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERMINAL_WIDTH", "80")
    shown = command("simulate", "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    assert "--no-quiet" not in shown
    for group in ("Data", "Privacy", "Training", "The curve", "This machine", "The run"):
        assert f"─ {group} ─" in shown
    flat = re.sub(r"[\s│]+", " ", shown)
    for name, _, setting, _ in _FLAGS:
        assert f"--{name.replace('_', '-')} " in flat
        if setting:
            assert setting in settings_names()
            assert f"Default: {default_of(setting)}." in flat, setting
            assert " | ".join(accepted_words(setting)) in flat
    settings = from_dict(load_toml(preset_file("default")))
    cohort, more = (at_epsilon(settings, e, 0).federation.cohort for e in (math.inf, 2.0))
    assert f"Default: {cohort:g} (preset default), with noise {more:g}." in flat


def test_a_default_that_is_shown_is_that_of_a_run():
    settings = from_dict(load_toml(preset_file("default")))
    noised = at_epsilon(settings, 2.0, 0)
    rounds, cohort = settings.federation.rounds, noised.federation.cohort
    assert default_of("federation.rounds").startswith(f"{rounds} (preset default)")
    assert default_of("federation.cohort").endswith(f"with noise {cohort:g}")
    assert default_of("federation.aggregation") == settings.federation.aggregation
    assert set(preset_names()) >= {"default", "local", "dp_ftrl"}


def strict(text):
    """JSON as the standard has it: no bare NaN or Infinity, and nothing beside the document."""

    def refuse(word):
        raise AssertionError(word)

    return json.loads(text, parse_constant=refuse)


def test_every_command_prints_one_document(run, settings, tiny_bert, tmp_path):
    adapter = run / "adapters" / "eps-2-seed-0.safetensors"
    policy = run / "points" / "eps-2-seed-0.policy.json"
    operator = strict(command("policy", "key", "--json").out)["operator"]
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "caps.toml").write_text("")
    use = ("--data", "world", "--adapter", adapter)
    point = policy.with_name("eps-2-seed-0.toml")
    initial = policy.with_name("eps-2-seed-0.initial.safetensors")
    made = ("--config", point, "--adapter", initial, "--users", "40", "--out", tmp_path / "p.json")
    asked = {
        ("verify", run): {"verdict", "rows"},
        ("account", "--noise", 1, "--rounds", 9999, "--sampling", 1, "--users", 9): {"epsilons"},
        ("evaluate", *use): {"metrics", "metrics_status", "promise", "promise_verified"},
        ("recommend", *use, "--user", "u0"): {"recommendations", "promise_verified"},
        ("policy", "make", *made): {"file", "promises"},
        ("policy", "show", policy): {"promises", "issuer", "now"},
        ("policy", "show", adapter): {"promise", "promise_verified"},
        ("policy", "check", policy, "--operator", operator): {"takes_part", "answers", "caps"},
        ("policy", "spent", tmp_path / "state"): {"agreed", "records", "together", "caps"},
        ("data", "inspect", "world", "--users", 9): {"users", "items"},
        ("data", "world", "--out", tmp_path / "w", "--users", 9): {"folder", "users"},
    }
    for words, names in asked.items():
        done = command(*words, "--json")
        assert done.code in (0, 3), (words, done.err)
        assert names <= strict(done.out).keys(), words
    assert isinstance(strict(command("data", "ls", "--json").out), list)
    documented = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "--json" in documented


def test_a_run_prints_one_document(settings, tiny_bert, tmp_path):
    out = tmp_path / "run"
    few = ("--references", "none", "--epsilon", "inf", "--rounds", "1", "--quiet")
    done = command(
        "simulate", "--config", settings, "--backbone", tiny_bert, *few, "--out", out, "--json"
    )
    assert done.code == 0, done.err
    document = strict(done.out)
    assert document["folder"] == str(out)
    assert document["results"] == json.loads((out / "results.json").read_text())
    assert document["results"]["complete"] is True


def test_an_error_is_no_document():
    done = command("account", "--epsilon", 8, "--json")
    assert (done.code, done.out) == (2, "")
    assert done.error.startswith("error: ")
