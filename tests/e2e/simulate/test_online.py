"""`starling simulate --online` and `verify` of it, as they are typed."""

import json
import re
import shutil

import pytest

from shared.privacy.ledger.seal import digests, write_sealed
from simulations.exploration.outcome import recovery
from tests.support.command import command

SMALL = """
users = 30
items = 40
days = 4
slate = 3
shift = 3
draws = 2
components = 4
"""


@pytest.fixture(scope="module")
def run(tiny_bert, tmp_path_factory):
    place = tmp_path_factory.mktemp("online")
    (place / "small.toml").write_text(SMALL)
    words = ["--policies", "greedy,thompson=0.5,linucb", "--epsilon", "8,inf", "--seeds", "0,1"]
    words += ["--config", place / "small.toml", "--backbone", tiny_bert, "--out", place / "run"]
    return place / "run", command("simulate", "--online", *words)


def test_a_run_says_what_it_cost_and_verifies(run):
    folder, done = run
    assert done.code == 0, done.err
    rows = [line for line in done.out.splitlines() if line.startswith("policy ")]
    assert len(rows) == 6
    assert all("regret " in row and "clicks " in row for row in rows)
    assert "12 of 12: linucb, epsilon inf, seed 1" in done.err
    table = (folder / "online.csv").read_text().splitlines()
    assert len(table) == 1 + 12 * 4
    assert (folder / "online.png").stat().st_size > 1000
    checked = command("verify", folder, "--json")
    assert checked.code == 0, checked.err
    told = json.loads(checked.out)
    assert [row["verdict"] for row in told["rows"]] == ["agrees"] * 12
    private = [row for row in told["rows"] if "epsilon 8" in row["point"]]
    assert all(float(row["epsilon"]) == pytest.approx(8, rel=1e-3) for row in private)


def test_two_runs_of_the_same_settings_are_the_same(run, tiny_bert, tmp_path):
    folder, _ = run
    (tmp_path / "small.toml").write_text(SMALL)
    words = ["--policies", "thompson=0.5", "--epsilon", "8", "--seeds", "1", "--quiet", "--json"]
    words += ["--config", tmp_path / "small.toml", "--backbone", tiny_bert, "--out", tmp_path / "b"]
    done = command("simulate", "--online", *words)
    assert (done.code, done.err) == (0, "")
    (row,) = json.loads(done.out)["rows"]
    assert row["policy"] == "thompson=0.5"
    wanted = [line for line in table_of(folder) if line.startswith("thompson=0.5,8.0,1,")]
    assert table_of(tmp_path / "b")[1:] == wanted


def table_of(folder):
    return (folder / "online.csv").read_text().splitlines()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda f: (f / "online.csv").write_text("policy\n"), "not the file that was sealed"),
        (lambda f: cut(f / "ledger-greedy-eps-8-seed-0.jsonl"), "cut, extended or rewritten"),
        (lambda f: edit(f / "online.json", '"epsilon": 7.99', '"epsilon": 3.99'), "3.99"),
        (lambda f: edit(f / "online.json", '"days": 4', '"days": 2'), "the settings give"),
        (lambda f: (f / "ledger-x.jsonl").write_text("{}"), "a ledger that no point claims"),
        (lambda f: (f / "ledger-linucb-eps-8-seed-1.jsonl").unlink(), "sealed, but missing"),
    ],
)
def test_whatever_is_altered_is_seen(run, tmp_path, spoil, told):
    folder = tmp_path / "run"
    shutil.copytree(run[0], folder)
    spoil(folder)
    done = command("verify", folder)
    assert done.code == 3
    assert told in done.out
    assert "DISAGREE" in done.out


def seal_again(folder, change, left_out=()):
    """As a liar does who has the key."""
    tree = json.loads((folder / "online.json").read_text())
    names = [name for name in tree.pop("seal")["files"] if name not in left_out]
    change(tree)
    write_sealed(folder / "online.json", tree, digests(folder, [folder / name for name in names]))


@pytest.mark.parametrize(
    ("lie", "left_out", "told"),
    [
        (lambda t: t["points"][0]["guarantee"].pop("delta"), (), "is not that of the settings"),
        (
            lambda t: t["points"][0]["course"].update(regret=[0.0] * 4),
            (),
            "not the points' figures",
        ),
        (lambda t: [each["course"].clear() for each in t["points"]], (), "no outcome"),
        (lambda t: None, ("online.csv",), "online.csv: the seal does not vouch for it"),
        (lambda t: t.update(metrics_status="released"), (), "says more or less"),
        (lambda t: t.update(released={"clicks": 1}), (), "says more or less"),
        (lambda t: t["config"].update(delta=0.5), (), "one over the users"),
    ],
)
def test_what_was_altered_is_seen_whoever_seals_it(run, tmp_path, lie, left_out, told):
    folder = shutil.copytree(run[0], tmp_path / "run")
    seal_again(folder, lie, left_out)
    done = command("verify", folder)
    assert done.code != 0
    assert told in done.out + done.err


def cut(file):
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(re.sub(re.escape(old), new, text, count=1))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--days", "3"), "--days: goes with --online"),
        (("--online", "--cohort", "3"), "--cohort: an online run has no such option; it takes"),
        (("--online", "--policies", "gredy"), "did you mean greedy?"),
        (("--online", "--policies", "softmax=x"), "expected NAME or NAME=STRENGTH"),
        (("--online", "--policies", "greedy,greedy"), "expected at least one, once each"),
        (
            ("--online", "--days", "0"),
            "days (--days) = 0: Input should be greater than or equal to 1",
        ),
        (("--online", "--epsilon", "0"), "epsilon (--epsilon) = 0.0: expected a budget > 0"),
        (
            ("--online", "--users", "90", "--delta", "0.5"),
            "expected below 1/90, one over the users",
        ),
        (("--online", "--config", "no.toml"), "no.toml: cannot be read"),
        (("--online", "--out", "."), "--out .: is there already"),
        (("--online", "--users", "3", "--epsilon", "1e-9"), "expected at least 0.001"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_is_wrong_is_one_line(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = command("simulate", *words)
    assert done.code == 2
    assert told in done.error
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_recovery_is_counted_from_the_shift():
    assert recovery([1, 1, 1, 3, 2, 1.25, 1], 3) == 2
    assert recovery([1, 1, 1, 3, 2, 1.5, 1.4], 3) is None
    assert recovery([1, 1, 1, 1], 3) == 0
    assert recovery([1, 1, 1], 0) is None
