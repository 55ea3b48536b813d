"""What a person gets wrong ends in one line that says what, where and what is accepted."""

import shutil

import pytest

from tests.support.command import command, write_settings

SIMULATE = {
    "unknown preset": (["--preset", "nope"], r"--preset nope: unknown; there are .*demo"),
    "unknown data": (["--data", "nope"], "nope"),
    "missing folder": (["--data", "./no/such/folder"], "no/such/folder"),
    "epsilon 0": (["--epsilon", "0"], "greater than 0"),
    "epsilon below 0": (["--epsilon", "-1"], "greater than 0"),
    "epsilon nan": (["--epsilon", "1,nan"], "nan is not a number"),
    "epsilon text": (["--epsilon", "low"], "expected numbers with commas"),
    "epsilon empty": (["--epsilon", ""], "expected numbers with commas"),
    "epsilon twice": (["--epsilon", "2,8,2.0"], "the same number twice"),
    "seeds text": (["--seeds", "1.5"], "expected numbers with commas"),
    "seeds twice": (["--seeds", "0,1,0"], "the same number twice"),
    "seed below 0": (["--seeds", "-1"], "greater than or equal to 0"),
    "delta 0": (["--delta", "0"], "privacy.delta"),
    "delta 1": (["--delta", "1"], "privacy.delta"),
    "rounds 0": (["--rounds", "0"], "federation.rounds"),
    "cohort 0": (["--cohort", "0"], "federation.cohort"),
    "cohort of more than all": (["--cohort", "41"], "there are 40 users"),
    "no users": (["--users", "0"], "data.users"),
    "unknown unit": (["--unit", "family"], "privacy.unit"),
    "unknown trust": (["--trust", "blind"], "privacy.trust"),
    "unknown rule": (["--aggregation", "best"], "federation.aggregation"),
    "unknown engine": (["--engine", "steam"], "engine.engine"),
    "unknown device": (["--device", "tpu"], "engine.device"),
    "unknown backbone": (["--backbone", "nope"], "no such folder"),
    "hub id without revision": (["--backbone", "a/b"], "pin a revision"),
    "too many layers": (["--layers", "9"], "this backbone has 2"),
    "unknown option": (["--nope"], "No such option"),
    "not a number": (["--rounds", "many"], "--rounds"),
    "resume and out": (["--resume", "a"], "--out and --resume"),
}


@pytest.mark.parametrize(("arguments", "message"), SIMULATE.values(), ids=list(SIMULATE))
def test_simulate(arguments, message, settings, tiny_bert, tmp_path, match):
    preset = [] if "--preset" in arguments else ["--config", settings]
    out = tmp_path / "out"
    done = command(
        "simulate", *preset, "--backbone", tiny_bert, "--out", out, "--quiet", *arguments
    )
    assert done.code == 2, done.err
    assert match(message, done.error)
    assert not out.exists()  # a mistake leaves nothing that would be in the way of a second try


@pytest.fixture
def match():
    import re

    return lambda pattern, text: re.search(pattern, text) or pytest.fail(text)


FILES = {
    "unknown key": ("[federation]\nround = 3\n", "unknown setting federation.round"),
    "unknown section": ("[federated]\nrounds = 3\n", "unknown setting federated"),
    "unknown key in private": ("[private.model]\nrank = 3\n", "rank"),
    "unknown private section": ("[private.privacy]\nepsilon = 3\n", "private"),
    "not a table": ("data = 3\n", "data"),
    "private is no table": ("private = 3\n", "private"),
    "no TOML": ("rounds: 3\n", "not a TOML file"),
    "no epsilon": ("[sweep]\nepsilons = []\n", "sweep.epsilons"),
    "epsilon twice": ("[sweep]\nepsilons = [1, 2, 1.0]\n", "sweep.epsilons"),
    "seed twice": ("[sweep]\nseeds = [1, 1]\n", "sweep.seeds"),
    "wrong type": ("[federation]\nrounds = 'three'\n", "federation.rounds"),
}


@pytest.mark.parametrize(("text", "message"), FILES.values(), ids=list(FILES))
def test_a_settings_file(text, message, tiny_bert, tmp_path, match):
    file = tmp_path / "own.toml"
    file.write_text(text)
    done = command(
        "simulate", "--config", file, "--backbone", tiny_bert, "--users", 20,
        "--out", tmp_path / "out", "--quiet",
    )  # fmt: skip
    assert done.code == 2, done.err
    assert match(message, done.error)
    assert not (tmp_path / "out").exists()


def test_a_missing_settings_file(tmp_path, match):
    done = command("simulate", "--config", tmp_path / "none.toml")
    assert done.code == 2
    assert match("none.toml: cannot be read", done.error)


def test_two_sources_of_settings(settings, match):
    done = command("simulate", "--config", settings, "--preset", "demo")
    assert done.code == 2
    assert match("give one of them", done.error)


def test_an_existing_run_is_not_overwritten(run, settings, tiny_bert, match):
    before = (run / "results.json").read_bytes()
    done = command("simulate", "--config", settings, "--backbone", tiny_bert, "--out", run)
    assert done.code == 2
    assert match("holds a run already; continue it with --resume", done.error)
    assert (run / "results.json").read_bytes() == before


def test_resuming_nothing(tmp_path, match):
    done = command("simulate", "--resume", tmp_path)
    assert done.code == 2
    assert match("holds no run", done.error)


def test_resuming_with_other_settings(run, match):
    done = command("simulate", "--resume", run, "--rounds", 5)
    assert done.code == 2
    assert match("differs from these settings", done.error)


def test_a_folder_that_cannot_be_made(settings, tiny_bert, tmp_path, match):
    (tmp_path / "file").write_text("")
    done = command(
        "simulate", "--config", settings, "--backbone", tiny_bert, "--out", tmp_path / "file" / "x"
    )
    assert done.code == 2
    assert match("cannot be written|Not a directory", done.error)


ROWS = {
    "unknown item": ("u1,a,1\nu1,z,2\n", "z"),
    "missing timestamp": ("u1,a,1\nu1,b,\n", "timestamp"),
    "timestamp is no number": ("u1,a,1\nu1,b,soon\n", "soon|timestamp"),
    "no rows": ("", ""),
}


def write_log(folder, rows, items="a,Alpha\nb,Beta\nc,Gamma\nd,Delta\n"):
    folder.mkdir()
    (folder / "interactions.csv").write_text("user,item,timestamp\n" + rows)
    (folder / "items.csv").write_text("item,text\n" + items)
    return folder


@pytest.mark.parametrize(("rows", "message"), ROWS.values(), ids=list(ROWS))
def test_a_log_with_a_mistake(rows, message, tmp_path, tiny_bert, match):
    folder = write_log(tmp_path / "log", rows)
    settings = write_settings(tmp_path)
    done = command(
        "simulate", "--config", settings, "--data", folder, "--backbone", tiny_bert,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 2, done.err
    assert match(message, done.error)
    assert not (tmp_path / "out").exists()


def test_a_catalogue_of_one_item(tmp_path, tiny_bert, match):
    folder = write_log(tmp_path / "log", "u1,a,1\n", items="a,Alpha\n")
    settings = write_settings(tmp_path)
    done = command(
        "simulate", "--config", settings, "--data", folder, "--backbone", tiny_bert,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.code == 2, done.err
    assert match("1 item", done.error)


EVALUATE = {
    "missing adapter": (["--adapter", "none.safetensors"], "there is no such file"),
    "another catalogue": (["--data", "LOG"], "trained on other items"),
    "unknown data": (["--data", "nope"], "nope"),
    "unknown phase": (["--phase", "training"], "expected test or validation"),
    "no adapter at all": (["--adapter", "TEXT"], "not an adapter"),
    "a folder": (["--adapter", "FOLDER"], "not an adapter"),
}


@pytest.mark.parametrize(("arguments", "message"), EVALUATE.values(), ids=list(EVALUATE))
def test_evaluate(arguments, message, run, tmp_path, match):
    log = write_log(tmp_path / "log", "u1,a,1\nu1,b,2\nu1,c,3\n")
    (tmp_path / "text").write_text("no adapter")
    places = {"LOG": log, "TEXT": tmp_path / "text", "FOLDER": tmp_path}
    given = {
        "--data": "world",
        "--users": 40,
        "--adapter": run / "adapters/eps-2-seed-0.safetensors",
    }
    given |= dict(zip(arguments[::2], (places.get(a, a) for a in arguments[1::2]), strict=True))
    if given["--data"] == log:
        del given["--users"]
    done = command("evaluate", *(part for pair in given.items() for part in pair))
    assert done.code == 2, done.err
    assert match(message, done.error)


RECOMMEND = {
    "unknown user": (["--user", "u40"], "no user 'u40'"),
    "k too large": (["-k", "100000"], "-k 100000: must be in"),
    "k 0": (["-k", "0"], "-k 0: must be in"),
}


@pytest.mark.parametrize(("arguments", "message"), RECOMMEND.values(), ids=list(RECOMMEND))
def test_recommend(arguments, message, run, match):
    user = [] if "--user" in arguments else ["--user", "u1"]
    adapter = run / "adapters" / "eps-2-seed-0.safetensors"
    done = command(
        "recommend", "--data", "world", "--users", 40, "--adapter", adapter, *user, *arguments
    )
    assert done.code == 2, done.err
    assert match(message, done.error)


def test_verify_without_a_run(tmp_path, match):
    done = command("verify", tmp_path)
    assert done.code == 2
    assert match("results.json: cannot be read", done.error)


def test_a_cut_ledger_ends_a_resumption_with_the_code_of_a_privacy_violation(run, tmp_path, match):
    copy = shutil.copytree(run, tmp_path / "copy")
    for name in ("eps-2-seed-0.sealed.json", "eps-2-seed-0.outcome.json"):
        (copy / "points" / name).unlink()  # as if interrupted in the last evaluation
    ledger = copy / "ledger-eps-2-seed-0.jsonl"
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:-1]))
    done = command("simulate", "--resume", copy, "--quiet")
    assert done.code == 3
    assert match("does not continue the ledger", done.err.strip().splitlines()[-1])


def test_debug_shows_where(match):
    done = command("--debug", "simulate", "--preset", "nope")
    assert done.code == 2
    assert "Traceback" in done.err
