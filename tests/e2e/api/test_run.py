"""Starling from Python: what a run's folder says, and what calling it wrong says."""

import ast
import json
import math
import shutil
import subprocess
import sys

import pandas
import pytest

import starling
from shared.errors import ConfigError, DataError, StarlingError
from simulations.api.options import options
from simulations.table import COLUMNS, METRICS, rows
from tests.support import ROOT
from tests.support.command import command, results, unfinish

QUIET = """
import starling
run = starling.simulate(config={config!r}, backbone={backbone!r}, epsilon=2, references=[],
                        out={out!r}, quiet=True, resume=True)
assert run.complete and len(run.points) == 1
"""


@pytest.fixture
def loaded(run):
    return starling.load_run(run)


def test_points_are_the_table_of_the_results(loaded, run):
    points = loaded.points
    assert list(points.columns) == [column.name for column in COLUMNS]
    assert {name: str(kind) for name, kind in points.dtypes.items()} == {
        column.name: column.kind for column in COLUMNS
    }
    stated = results(run)["points"]
    for (_, row), point in zip(points.iterrows(), stated, strict=True):
        for name in ("epsilon", "epsilon_rdp", "epsilon_target", "delta", "noise_multiplier"):
            assert row[name] == float(point[name]), name
        for name in METRICS:
            assert row[name] == point["metrics"][name]
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row["adapter"] == point["adapter"]
        assert (row["bytes_up"], row["users"]) == (
            point["communication_bytes"]["up"],
            point["metrics"]["users"],
        )
    assert math.isinf(points["epsilon"].max())
    assert points.attrs["units"]["epsilon"] == "nats"


def test_both_files_and_the_document_hold_the_same(loaded, run):
    points = loaded.points
    kinds = {column.name: column.kind for column in COLUMNS}
    pandas.testing.assert_frame_equal(pandas.read_csv(run / "results.csv", dtype=kinds), points)
    pandas.testing.assert_frame_equal(pandas.read_parquet(run / "results.parquet"), points)
    assert pandas.read_parquet(run / "results.parquet").attrs == points.attrs
    done = command("simulate", "--resume", run, "--json")
    page = json.loads(done.out)
    assert page["points"][0] == rows(loaded.results)[0]
    assert page["points"][1]["epsilon"] == "inf"
    assert page["results"] == results(run)


def test_what_a_stranger_s_results_hold_is_no_figure_unless_it_is_one(loaded):
    stated = json.loads(json.dumps(loaded.results.stated))
    stated["points"][0] |= {"delta": "1", "unit": 3, "metrics": {"hr@10": [1], "users": 1.5}}
    del stated["points"][0]["communication_bytes"]
    strange = type(loaded.results).of(stated)
    (first, _) = rows(strange)
    for name in ("delta", "unit", "hr@10", "hr@10_low", "users", "bytes_up"):
        assert first[name] is None, name


def test_the_rest_of_a_run(loaded, run, tmp_path):
    assert loaded.complete
    assert loaded.references["reference"].tolist() == list(results(run)["references"])
    assert loaded.rounds["round"].tolist() == [1, 2, 1, 2]
    loaded.curve().savefig(tmp_path / "curve.svg")
    page = loaded.report()
    assert page.html == (run / "report.html").read_text(encoding="utf-8")
    assert "<iframe" in page._repr_html_()
    assert page.save(tmp_path / "r.html").read_text(encoding="utf-8") == page.html
    shown = loaded._repr_html_()
    assert "User-level epsilon (zero_out, delta 0.001" in shown
    assert "evaluator" in shown
    private = loaded.adapter(2)
    assert private.promise["guarantees"][0]["unit"] == "user"
    assert loaded.adapter("inf", seed=0).path.name == "eps-inf-seed-0.safetensors"
    told = loaded.recommend("u3", k=4)  # by the largest finite budget
    assert told.equals(private.recommend("u3", 4))
    parts = told["popularity"] + told["language_model"] + told["history"]
    assert parts.tolist() == pytest.approx(told["score"].tolist(), abs=1e-4)
    assert [why.split("; ")[-1][-1] for why in told["because"]] == ["."] * 4
    taste = loaded.profile("u3")
    assert taste == private.profile("u3")
    assert (taste.by, taste.text[:9]) == ("template", "You chose")
    assert private.evaluate() == pytest.approx(results(run)["points"][0]["metrics"])
    report = loaded.verify()
    assert (report.ok, report.exit_code) == (True, 0)


def test_a_table_that_was_altered_is_found(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "run")
    file = copy / "results.csv"
    file.write_text(file.read_text().replace("user", "person", 1))
    report = starling.load_run(copy).verify()
    assert report.exit_code == 3
    assert "results.csv: not the file that was sealed" in report.problems[0]


def test_a_run_of_before_there_were_tables_verifies(run, tmp_path):
    """None of its promises rests on them."""
    from tests.support.privacy.forging import load, reseal

    copy = shutil.copytree(run, tmp_path / "run")
    for name in ("results.csv", "results.parquet"):
        (copy / name).unlink()
    reseal(copy, load(copy))
    assert starling.load_run(copy).verify().exit_code == 0


def test_an_unfinished_run_is_what_there_is_of_it(run, tmp_path):
    copy = unfinish(shutil.copytree(run, tmp_path / "run"), "eps-inf-seed-0")
    found = starling.load_run(copy)
    assert not found.complete
    assert "NOT complete" in repr(found)
    assert found.points["epsilon_target"].tolist() == [2.0]
    assert "INCOMPLETE" in found.report().html.upper()
    with pytest.raises(DataError, match="no point at epsilon inf; there are: epsilon 2, seed 0"):
        found.adapter("inf")
    nothing = unfinish(copy, "eps-2-seed-0")
    empty = starling.load_run(nothing)
    assert empty.points.empty
    assert list(empty.points.columns) == [column.name for column in COLUMNS]
    assert empty._repr_html_()
    with pytest.raises(DataError, match="no point is finished"):
        empty.recommend("u3")


def test_silence_is_silence_and_a_cell_may_be_run_again(settings, tiny_bert, tmp_path):
    """Not a line of ours, of Flower's or of any other library's, on neither output."""
    code = QUIET.format(config=str(settings), backbone=str(tiny_bert), out=str(tmp_path / "r"))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    before = (tmp_path / "r" / "results.json").read_bytes()
    about = {"config": settings, "backbone": tiny_bert, "references": [], "quiet": True}
    out = tmp_path / "r"
    again = starling.simulate(**about, epsilon=[2.0], out=out, resume=True)
    assert again.complete
    assert (out / "results.json").read_bytes() == before
    with pytest.raises(ConfigError, match="differs from these settings in sweep"):
        starling.simulate(**about, epsilon=[3.0], out=out, resume=True)
    with pytest.raises(ConfigError, match=r"continue it with resume .*, or choose another out"):
        starling.simulate(**about, epsilon=[2.0], out=out)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epsilon": -1}, "sweep.epsilons.0 = -1"),
        ({"epsilon": 0}, "0 means that nothing may be learned"),
        ({"epsilon": "8,inf"}, "sweep.epsilons = '8,inf'"),
        ({"seeds": 3}, "sweep.seeds = 3"),
        ({"data": "wrld"}, "did you mean world?"),
        ({"preset": "defualt"}, "did you mean default?"),
        ({"references": ["popularty"]}, "did you mean popularity?"),
        ({"track": ["tensorbord"]}, "did you mean tensorboard?"),
        ({"resume": "nowhere"}, "there is no such folder"),
        ({"resume": True}, "give the folder that may hold the run: out"),
        ({"resume": "a", "out": "b"}, "out and resume: give one"),
    ],
)
def test_mistakes_are_told_in_one_line_without_dashes(given, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StarlingError) as raised:
        starling.simulate(**given, quiet=True)
    assert said in str(raised.value)
    assert "--" not in str(raised.value)
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_names_that_there_are_none_of():
    with pytest.raises(TypeError, match=r"'epsilom'; did you mean epsilon\?"):
        starling.simulate(epsilom=8)
    with pytest.raises(AttributeError, match=r"'simulat'; did you mean simulate\?"):
        starling.simulat  # noqa: B018
    assert {"simulate", "load_run", "Run", "Adapter"} <= set(dir(starling))


def test_arrays_paths_and_numbers_of_numpy_are_settings():
    import numpy as np

    from simulations.api.settings import experiment_of

    asked = {"epsilon": np.array([2.0, 4.0]), "seeds": range(2), "users": np.int64(50)}
    experiment, folder, resume = experiment_of({**asked, "data": ROOT / "docs"})
    assert experiment.sweep.epsilons == (2.0, 4.0)
    assert (experiment.sweep.seeds, experiment.data.users) == ((0, 1), 50)
    assert (experiment.data.spec, folder.name, resume) == (str(ROOT / "docs"), "docs", False)


def test_every_flag_is_an_argument(capsys):
    flags = command("simulate", "--help").out
    for name in options():
        assert f"--{name.replace('_', '-')}" in flags


def test_types_are_told_of_all_that_is_handed_on():
    """A module cannot say that it is typed: the package of stubs beside it does."""
    stubs = ast.parse((ROOT / "starling-stubs" / "__init__.pyi").read_text(encoding="utf-8"))
    found = {
        each.name for node in stubs.body if isinstance(node, ast.ImportFrom) for each in node.names
    }
    functions = {node.name for node in stubs.body if isinstance(node, ast.FunctionDef)}
    assert found | functions == set(starling.__all__) == {*starling.API, "main"}


def test_importing_is_quick_and_loads_no_library():
    code = (
        "import starling, sys; print(sorted({'numpy', 'torch', 'pandas', 'click', 'rich', 'shared'}"
        " & set(sys.modules))); starling.simulate; print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["[]", "False"]
