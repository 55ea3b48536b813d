"""What a sweep can know before any training is refused or told then, and leaves nothing behind."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

import server.app
from shared.data.catalogue import Catalogue
from shared.data.protocol import Protocol
from shared.errors import ConfigError, DataError
from shared.privacy.plan.plan import server_plan
from shared.run_files import RunFolder
from simulations.api.experiment import simulate
from simulations.api.settings import experiment_of
from simulations.flower.before import warnings
from simulations.report.outcome import ranked
from simulations.results import Results
from simulations.sweep import sweep
from simulations.sweep.sweep import run_sweep
from tests.support.command import command
from tests.support.federations import point_config

NONE = {"references": []}
OPEN = {"epsilons": ["inf"], **NONE}
ROUND = {"rounds": 1, "cohort": 4.0}


def write_log(folder, histories, items):
    """Everyone's history, u0's first, of items by number."""
    folder.mkdir()
    met = [f"u{u},i{i},{at}" for u, each in enumerate(histories) for at, i in enumerate(each)]
    for name, lines in (
        ("interactions.csv", ["user,item,timestamp", *met]),
        ("items.csv", ["item,text", *(f"i{item},text {item}" for item in range(items))]),
    ):
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def people(count, length, items):
    return [[(3 * u + k) % items for k in range(length)] for u in range(count)]


SHORT, LONG = people(8, 2, 40), people(8, 5, 40)
LITTLE = {"cohort": 0.001}


@pytest.mark.parametrize(
    ("histories", "items", "sections", "message"),
    [
        (SHORT, 40, {}, "nobody can be evaluated: of 8 people 8 have fewer than 3 interactions"),
        (people(8, 12, 12), 12, {}, "nobody can be evaluated: of 8 people 8 met all 12 items"),
        (SHORT + people(2, 40, 40), 40, {}, "of 10 people 8 have .* and 2 met all 40 items"),
        (people(1, 9, 40), 40, {}, "1 person; expected at least 2"),
        (LONG, 40, {"data": {"users": 1}}, "1 person; expected at least 2"),
        (SHORT + LONG, 40, {"data": {"evaluated_users": 1, "users": 2}}, "nobody can be evaluated"),
        (
            LONG,
            40,
            {"sweep": {"epsilons": [1e-9]}},
            r"\(--epsilon\) = 1e-09: expected at least 0.001",
        ),
        (LONG, 40, {"sweep": {"epsilons": [8.0, 9e-4]}}, r"\(--epsilon\) = 0.0009: expected at"),
        (LONG, 40, {"privacy": {"delta": 0.125}}, r"privacy.delta \(--delta\) = 0.125: .* 1/8"),
        (
            LONG,
            40,
            {"privacy": {"delta": 1e-300}},
            r"\(--delta\) = 1e-300: expected at least 1e-14",
        ),
        (LONG, 40, {"federation": LITTLE}, r"\(--cohort\): .* nobody is drawn in any of 1 round"),
        (
            LONG,
            40,
            {"federation": LITTLE, "privacy": {"trust": "distributed"}},
            "nobody is drawn in any of 1 round",
        ),
        (LONG, 40, {"federation": {"cohort": 9.0}}, r"federation.cohort \(--cohort\) = 9: there"),
        (
            LONG,
            40,
            {"federation": LITTLE, "sweep": {"epsilons": ["inf"]}},
            r"federation.cohort \(--cohort\): .* nobody is drawn in any of 1 round",
        ),
        (
            LONG,
            40,
            {"federation": LITTLE, "privacy": {"mechanism": "dp_ftrl"}},
            "nobody is drawn in any of 1 round",
        ),
        (
            LONG,
            40,
            {"federation": LITTLE, "privacy": {"unit": "example", "trust": "local"}},
            "nobody is drawn in any of 1 round",
        ),
    ],
)
def test_refused_before_anything_is_made(
    tiny_bert, tmp_path, monkeypatch, histories, items, sections, message
):
    log = write_log(tmp_path / "log", histories, items)
    given = {name: dict(values) for name, values in sections.items()}
    given["sweep"] = {"epsilons": [8.0], **NONE, **given.get("sweep", {})}
    given["data"] = {"spec": str(log), **given.get("data", {})}
    given["federation"] = ROUND | given.get("federation", {})
    config = point_config(tiny_bert, **given)
    monkeypatch.setattr(sweep, "run_point", trained)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((ConfigError, DataError), match=message):
        run_sweep(config, tmp_path / "deep" / "out", quiet=True)
    assert sorted(tmp_path.rglob("*")) == before


def trained(*arguments):
    raise AssertionError("a point was trained")


@pytest.mark.parametrize(
    ("epsilon", "sections", "told"),
    [
        (0.01, {}, True),
        (8.0, {}, False),
        (math.inf, {}, False),
        (0.01, {"privacy": {"mechanism": "dp_ftrl"}}, False),  # how much cancels is not counted
        (0.01, {"privacy": {"unit": "example"}, "train": {"local_steps": 1}}, False),
    ],
)
def test_noise_that_drowns_a_whole_cohort_is_told(tiny_bert, epsilon, sections, told):
    people = SimpleNamespace(
        users=range(40),
        protocol=Protocol.of([5] * 40, 300, 99),
        population=SimpleNamespace(catalogue=Catalogue(("a", "b"), ("Alien", "Heat"))),
    )
    config = point_config(tiny_bert, epsilon, **sections)
    found = warnings(people, [config, config])
    assert [text.partition(" is ")[0] for text in found] == (
        ["epsilon 0.01: the noise on every trained number"] if told else []
    )
    if told:
        noise = server_plan(config, 40).noise_multiplier
        assert f"is {noise / 15:.3g} times all that a cohort of 15 could" in found[0]


@pytest.mark.parametrize("given", ["new/..", "new/../log/../new/.."])
def test_a_folder_that_leads_back_leaves_none_on_the_way(tiny_bert, tmp_path, given):
    log = write_log(tmp_path / "log", LONG, 40)
    with pytest.raises(ConfigError, match="holds other files"):
        simulate(data=log, backbone=tiny_bert, out=tmp_path / given, quiet=True, rounds=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


def test_a_run_that_cannot_keep_its_settings_leaves_no_folder(tiny_bert, tmp_path, monkeypatch):
    """As on a disk that is full."""

    def full(*arguments):
        raise OSError(28, "No space left on device")

    log = write_log(tmp_path / "log", LONG, 40)
    config = point_config(tiny_bert, data={"spec": str(log)}, federation=ROUND, sweep=OPEN)
    monkeypatch.setattr("simulations.sweep.folder.write_atomically", full)
    with pytest.raises(ConfigError, match="cannot be written"):
        run_sweep(config, tmp_path / "deep" / "out", quiet=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("..", "project"),
        (".", "notebooks"),
        ("./", "notebooks"),
        ("../notebooks/.", "notebooks"),
        ("../../project/", "project"),
        ("../log.csv", "log"),
        ("/", "run"),
        ("..csv", "run"),
        ("...parquet", "run"),
        ("world", "world"),
        ("movielens-100k", "movielens-100k"),
    ],
)
def test_the_default_folder_is_named_after_where_the_data_lies(tmp_path, monkeypatch, spec, name):
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "notebooks")
    folder = experiment_of({"data": spec})[1]
    assert folder == Path("runs") / name
    assert folder.resolve().parent == Path("runs").resolve()


def test_what_was_carried_out_is_told_at_the_start_in_the_outcome_and_in_the_report(
    tiny_bert, tmp_path, capsys, monkeypatch
):
    """Ten items, and half of the people met eight of them."""
    logged = []
    monkeypatch.setattr(server.app, "log", lambda level, form, *words: logged.append(form % words))
    log = write_log(tmp_path / "log", people(6, 4, 10) + people(6, 8, 10), 10)
    config = point_config(
        tiny_bert,
        data={"spec": str(log), "negatives": 99},
        federation=ROUND,
        sweep={"epsilons": ["inf"], "references": ["popularity"]},
    )
    results = run_sweep(config, tmp_path / "out", quiet=True)
    drawn = {"least": 2, "median": 4.0, "certain": 12}
    stored = json.loads((tmp_path / "out" / "results.json").read_text())
    assert stored["data"]["negatives_drawn"] == drawn
    few = "among as few as 2 sampled negatives (median 4; 99 asked for)"
    certain = "For 12 of 12 people HR@10 is 1 whatever ranks"
    page = RunFolder(tmp_path / "out").report.read_text()
    (of_server,) = [line for line in logged if "over 12 people" in line]
    assert few in of_server
    for text in (capsys.readouterr().err, " ".join(ranked(results)), page):
        assert few in text
        assert certain in text
    assert "among 99 sampled negatives" not in page
    assert Results.read(tmp_path / "out" / "results.json").points[0].metrics["hr@10"] == 1.0
    done = evaluated(log, tmp_path / "out")
    assert done["negatives_drawn"] == drawn
    assert few in done["warnings"][0]
    assert certain in done["warnings"][1]


def evaluated(log, run):
    file = run / "adapters" / "eps-inf-seed-0.safetensors"
    done = command("evaluate", "--data", log, "--adapter", file, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)
