"""Whatever a foreign file holds, its reader answers in one line, with the exit code it should."""

import json
import shutil
from dataclasses import replace
from io import StringIO

import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save, save_file
from safetensors.torch import save_file as torch_save

from server.results import refuse_another
from shared.canonical import canonical_json
from shared.errors import ConfigError, ProtocolError
from shared.privacy.keys import load_or_create_signing_key, sign
from shared.privacy.policy.signed import FORMAT
from shared.request import Request
from shared.run_files import run_files
from simulations.commands.verify import print_deltas, print_report
from simulations.console import Console
from simulations.verify.run import verify_run
from tests.support.bad.lab import ADAPTER
from tests.support.command import command, unfinish
from tests.support.persons import owners
from tests.support.privacy.policies import operator

DEEP, DIGITS, HUGE = "[" * 100_000, "1" * 5000, "1" + "0" * 400
WHOLE = {
    "nothing": b"",
    "no UTF-8": b"\xff\xfe\x00",
    "half a letter": rb'"\ud800"',
    "nested deeply": DEEP.encode(),
    "nested deeply, and whole": (DEEP[:600] + "]" * 600).encode(),
    "an integer of 5000 digits": DIGITS.encode(),
    "10**400": HUGE.encode(),
    "a list": b"[]",
    "a number": b"5",
    "null": b"null",
    "NaN": b"NaN",
    "an empty object": b"{}",
}
# In the place of any one value: as the file's own text has it.
VALUE = {
    "10**400": HUGE,
    "-10**400": f"-{HUGE}",
    "2**53": str(2**53),
    "5000 digits": DIGITS,
    "nested deeply": DEEP[:600] + "]" * 600,
    "null": "null",
    "a list": "[]",
    "an object": "{}",
    "NaN": "NaN",
    "1e999": "1e999",
    "text": '"x"',
    "a time that has none in UTC": '"9999-12-31T23:59:59-23:59"',
    "another": '"0001-01-01T00:00:00+23:59"',
}
PLACE = "planted here"
CHECKPOINT = "points/eps-2-seed-0.checkpoint"


def planted(tree, path, text):
    """JSON of a tree with `text` as it stands at a path."""
    tree = json.loads(json.dumps(tree))
    at = tree
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = PLACE
    return json.dumps(tree).replace(json.dumps(PLACE), text).encode()


class Bench:
    """A folder of its own, and a finished run that stays as it is."""

    def __init__(self, folder, run):
        self.folder, self.run = folder, run
        self.policy = run / "points" / "eps-2-seed-0.policy.json"
        self.toml = run / "points" / "eps-2-seed-0.toml"

    def file(self, content, name="file"):
        (path := self.folder / name).write_bytes(content)
        return path

    def state(self, **files):
        (state := self.folder / "state").mkdir()
        for name, content in files.items():
            (state / name.replace("_", ".")).write_bytes(content)
        return state

    def check(self, *words, policy=None):
        return command(
            "policy", "check", policy or self.policy, "--operator", operator(), *map(str, words)
        )

    def adapter(self, **metadata):
        with safe_open(self.run / ADAPTER, framework="np") as stream:
            kept = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            told = stream.metadata() | metadata
        file = self.folder / "own.safetensors"
        save_file(kept, file, metadata=told)
        return file

    def carried(self, word):
        with safe_open(self.run / ADAPTER, framework="np") as stream:
            return json.loads(stream.metadata()[word])

    def evaluate(self, file, *words):
        return command("evaluate", "--data", "world", "--users", 40, "--adapter", file, *words)

    def checkpoint(self, state):
        with safe_open(self.run / CHECKPOINT, framework="np") as stream:
            kept = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        return save(kept, metadata={"state": state})

    def resumed(self, name, content):
        """A run that is not finished, one of its files replaced."""
        run = unfinish(shutil.copytree(self.run, self.folder / "run"), "eps-2-seed-0")
        (run / "points" / "eps-2-seed-0.outcome.json").unlink()
        (run / name).write_bytes(content)
        return command("simulate", "--resume", run, "--quiet")


def metadata(content):
    """As safetensors takes it: text."""
    return content.decode("latin-1")


# What is replaced -> how it is read, and the exit code.
JSON = {
    "policy show": (lambda at, new: command("policy", "show", at.file(new)), 2),
    "policy check": (lambda at, new: at.check(policy=at.file(new)), 2),
    "agreement.json of policy check": (
        lambda at, new: at.check("--state", at.state(agreement_json=new)),
        2,
    ),
    "agreement.json of policy spent": (
        lambda at, new: command("policy", "spent", at.state(agreement_json=new)),
        2,
    ),
    "clock.json": (lambda at, new: at.check("--state", at.state(clock_json=new)), 2),
    "participation.jsonl of policy check": (
        lambda at, new: at.check("--state", at.state(participation_jsonl=new + b"\n")),
        3,
    ),
    "participation.jsonl of policy spent": (
        lambda at, new: command(
            "policy",
            "spent",
            at.state(participation_jsonl=new + b"\n", agreement_json=at.policy.read_bytes()),
        ),
        3,
    ),
    "the adapter's settings": (
        lambda at, new: at.evaluate(at.adapter(settings=metadata(new))),
        2,
    ),
    "the adapter's promise": (
        lambda at, new: command("policy", "show", at.adapter(promise=metadata(new))),
        2,
    ),
    "verify --key": (lambda at, new: command("verify", at.run, "--key", at.file(new)), 2),
    "points/data.json of --resume": (lambda at, new: at.resumed("points/data.json", new), 2),
    "points/*.sealed.json of --resume": (
        lambda at, new: at.resumed("points/eps-2-seed-0.sealed.json", new),
        2,
    ),
    "the checkpoint's state of --resume": (
        lambda at, new: at.resumed(CHECKPOINT, at.checkpoint(metadata(new))),
        2,
    ),
    "the ledger of --resume": (
        lambda at, new: at.resumed("ledger-eps-2-seed-0.jsonl", new + b"\n"),
        3,
    ),
}


@pytest.fixture
def bench(tmp_path, run):
    return Bench(tmp_path, run)


def one_line(done, code):
    assert (done.code, "Traceback" in done.err) == (code, False), done.err[-2000:]
    said = (done.err or done.out).strip()
    assert len(done.err.strip().splitlines()) <= 1, done.err
    assert said.isprintable() or done.out, repr(said)


# An adapter may carry no promise, or an empty one: told in words, and no mistake.
NO_MISTAKE = {("the adapter's promise", content) for content in ("null", "an empty object")}
FILES = [(reader, content) for reader in JSON for content in WHOLE]


@pytest.mark.parametrize(("reader", "content"), [each for each in FILES if each not in NO_MISTAKE])
def test_a_file_of_json(reader, content, bench):
    read, code = JSON[reader]
    one_line(read(bench, WHOLE[content]), code)


def carried(word, *path):
    def read(at, value):
        told = metadata(planted(at.carried(word), path, value))
        file = at.adapter(**{word: told})
        return command("policy", "show", file) if word == "promise" else at.evaluate(file)

    return read


def signed(*path):
    """A policy of the operator's own, as no command makes it."""

    def read(at, value):
        content = json.loads(at.policy.read_text())["policy"]
        try:
            told = json.loads(planted(content, path, value))
            message = f"{FORMAT}\n{canonical_json(told)}".encode()
        except (ValueError, RecursionError):  # nobody can write that one canonically
            told, message = planted(content, path, value).decode(), b""
        signature = sign(load_or_create_signing_key(), message)
        text = (
            canonical_json({"policy": told, "signature": signature})
            if message
            else f'{{"policy":{told},"signature":"{signature}"}}'
        )
        agreed = {"agreement_json": at.policy.read_bytes(), "caps_toml": owners().encode()}
        return at.check("--state", at.state(**agreed), policy=at.file(text.encode()))

    return read


def clocked(*path):
    def read(at, value):
        tree = {"latest": "2026-11-22T20:00:00+00:00", "rounds": 1}
        return at.check("--state", at.state(clock_json=planted(tree, path, value)))

    return read


def setting(*path):
    def read(at, value):
        section = "".join(f"[{name}]\n" for name in path[:-1])
        text = f"{section}{path[-1]} = {value}\n".encode()
        return command("simulate", "--config", at.file(text), "--out", at.folder / "out")

    return read


VALUES = {
    "settings: data.users": carried("settings", "data", "users"),
    "settings: data.world_items": carried("settings", "data", "world_items"),
    "settings: train.local_lr": carried("settings", "train", "local_lr"),
    "settings: federation.ranks": carried("settings", "federation", "ranks"),
    "settings: a section": carried("settings", "model"),
    "settings: seed": carried("settings", "seed"),
    "promise: guarantees": carried("promise", "guarantees"),
    "promise: epsilon": carried("promise", "guarantees", 0, "epsilon"),
    "promise: group_size": carried("promise", "guarantees", 0, "group_size"),
    "promise: unit": carried("promise", "guarantees", 0, "unit"),
    "promise: settings": carried("promise", "settings"),
    "policy: rounds": signed("rounds"),
    "policy: windows": signed("windows"),
    "policy: users": signed("users"),
    "policy: promises": signed("promises"),
    "policy: times": signed("promises", 0, "releases", 0, "times"),
    "policy: separation": signed("promises", 0, "releases", 0, "separation"),
    "policy: noise": signed("promises", 0, "releases", 0, "noise_multiplier"),
    "policy: delta": signed("promises", 0, "delta"),
    "policy: group": signed("promises", 0, "group"),
    "policy: epsilon": signed("promises", 0, "epsilon"),
    "policy: event": signed("promises", 0, "releases", 0, "event"),
    "policy: valid_until": signed("valid_until"),
    "clock: latest": clocked("latest"),
    "clock: rounds": clocked("rounds"),
}


@pytest.mark.parametrize("value", VALUE)
@pytest.mark.parametrize("reader", VALUES)
def test_one_value_of_it(reader, value, bench):
    """What is no mistake there, as a settings' null, is only to be read without a traceback."""
    done = VALUES[reader](bench, VALUE[value])
    assert done.code in (0, 2, 3), done.err[-2000:]
    assert len(done.err.strip().splitlines()) == (done.code == 2), done.err


TOML = {
    "no UTF-8": b"\xff\xfe",
    "NUL": b"a = 1\x00",
    "nested deeply": b"a = " + DEEP.encode(),
    "nested deeply, and whole": f"a = {VALUE['nested deeply']}".encode(),
    "an integer of 5000 digits": f"a = {DIGITS}".encode(),
    "10**400": f"epsilon = {HUGE}\n[data]\nusers = {HUGE}\n".encode(),
    "a list": b"data = []\nfederation = []\n",
    "a date": b"data = 2026-11-27\n",
}
SETTINGS = {
    "simulate --config": lambda at, file: command(
        "simulate", "--config", file, "--out", at.folder / "o"
    ),
    "policy make --config": lambda at, file: command(
        "policy", "make", "--config", file, "--epsilon", 2, "--out", at.folder / "o"
    ),
    "policy check --config": lambda at, file: at.check("--config", file),
    "policy check --caps": lambda at, file: at.check("--caps", file),
    "caps.toml": lambda at, file: at.check("--state", at.state(caps_toml=file.read_bytes())),
    "config.toml of --resume": lambda at, file: at.resumed("config.toml", file.read_bytes()),
}


@pytest.mark.parametrize("content", TOML)
@pytest.mark.parametrize("reader", SETTINGS)
def test_a_file_of_toml(reader, content, bench):
    one_line(SETTINGS[reader](bench, bench.file(TOML[content])), 2)


@pytest.mark.parametrize("value", [HUGE, f"-{HUGE}", str(2**53), str(2**70), "[[[[]]]]", "1e999"])
@pytest.mark.parametrize(
    "path",
    [
        ("data", "users"),
        ("data", "world_seed"),
        ("data", "world_items"),
        ("model", "max_length"),
        ("train", "local_lr"),
        ("federation", "rounds"),
        ("federation", "cohort"),
        ("privacy", "delta"),
        ("privacy", "group_size"),
        ("engine", "workers"),
        ("sweep", "epsilons"),
        ("seed",),
    ],
    ids=".".join,
)
def test_a_setting(path, value, bench):
    one_line(setting(*path)(bench, value), 2)


def test_an_adapter_of_a_type_that_is_none_of_numpys(bench):
    file = bench.folder / "own.safetensors"
    torch_save({"a": torch.zeros(2, dtype=torch.bfloat16)}, file, metadata={"settings": "{}"})
    one_line(bench.evaluate(file), 2)


@pytest.mark.parametrize("content", [b"[]", b"5", b"null", DEEP.encode()])
def test_results_of_another_run_in_the_folder_of_a_real_one(content, bench):
    files = run_files(bench.folder, "real")
    bench.file(content, "results.json")
    with pytest.raises(ConfigError, match=r"results\.json: damaged"):
        refuse_another(files)


@pytest.mark.parametrize("content", [*WHOLE])
def test_settings_of_a_message(content):
    fields = dict.fromkeys(("users", "round", "clip"), 1) | {"policy": "", "schema": ""}
    told = {"settings": metadata(WHOLE[content]), "merge": False, "phase": "test"}
    if content == "an empty object":
        Request.read("train", fields | told, {})
        return
    with pytest.raises((ConfigError, ProtocolError)):
        Request.read("train", fields | told, {})


def test_a_promise_is_told_as_the_files_own_word(bench):
    told = command("policy", "show", bench.run / ADAPTER)
    assert told.out.strip().endswith("; not verified here: starling verify does")


def test_a_strangers_words_are_no_commands_to_the_terminal(bench):
    """Unit and trust stand in a table as the ledger's header has them."""
    report = verify_run(bench.run)
    row = replace(report.rows[0], point="eps\x1b[2J", promise="user\x1b[H\nall agrees, central")
    report, told = replace(report, rows=(row,)), Console(file=StringIO(), width=300)
    print_report(report, told)
    print_deltas(report, [1e-6], told)
    shown = told.file.getvalue()
    assert "\x1b" not in shown
    assert shown.count(r"user\x1b[H\nall agrees, central") == 2


BACKBONES = {
    "10**400": ("config.json", "hidden_size", int(HUGE)),
    "fewer layers than none": ("config.json", "num_hidden_layers", -1),
    "another hidden size": ("config.json", "hidden_size", 8),
    "fewer words": ("config.json", "vocab_size", 3),
    "a tokenizer of another model": ("tokenizer_config.json", None, None),
}


@pytest.mark.parametrize("case", BACKBONES)
def test_a_backbone_whose_parts_do_not_go_together(case, bench, tiny_bert, settings, monkeypatch):
    monkeypatch.setenv("STARLING_CACHE", str(bench.folder / "cache"))  # nothing was encoded yet
    name, key, value = BACKBONES[case]
    folder = shutil.copytree(tiny_bert, bench.folder / "bert")
    told = (
        {**json.loads((folder / name).read_text()), key: value} if key else {"model_type": "bert"}
    )
    (folder / name).write_text(json.dumps(told))
    out = bench.folder / "out"
    words = ("--config", settings, "--backbone", folder, "--out", out, "--quiet")
    one_line(command("simulate", *words), 2)
