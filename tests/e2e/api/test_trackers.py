"""What trackers were told, read back with each tracker's own programs, offline."""

import json
import math
import shutil
import signal
import subprocess
import sys

import pytest

import starling
from shared.leaves import sections
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import RunFolder
from simulations.results import Results
from simulations.trackers import Tracking, track_run, tracking
from simulations.trackers.tracker import PACKAGES
from tests.support.command import command, results, start, stop_when
from tests.support.privacy.forging import load

POINTS = ("eps-2-seed-0", "eps-inf-seed-0")


class Told:
    """A tracker that keeps what it is told."""

    elsewhere = ""

    def __init__(self, run):
        self.logs = {}
        Told.last = self

    def open(self, name, settings):
        self.logs[name] = Log(settings)
        return self.logs[name]


class Log:
    def __init__(self, settings):
        self.settings, self.steps, self.files, self.closed = settings, {}, [], None

    def figures(self, figures, step):
        self.steps.setdefault(step, {}).update(figures)

    def file(self, path):
        self.files.append(path.name)

    def close(self, finished):
        self.closed = finished


@pytest.fixture
def told(monkeypatch):
    monkeypatch.setattr(tracking, "trackers", lambda names: dict.fromkeys(names, Told))
    return lambda: Told.last.logs


def expected(run):
    """What of each point's rounds a tracker must say, by point and round."""
    found = {}
    for name, point in zip(POINTS, results(run)["points"], strict=True):
        for entry in point["history"]:
            seen = {f"rounds/{k}": v for k, v in entry.items() if k != "round"}
            found[name, int(entry["round"])] = seen
    return found


def spent(run, name):
    """Epsilon after each round, by the ledger cut there."""
    lines = (run / f"ledger-{name}.jsonl").read_bytes().splitlines(keepends=True)
    found = {}
    for line in lines[1:]:
        entry = json.loads(line)["content"]
        found[entry["round"]] = entry["index"]
    ledger = run.parent / "cut.jsonl"
    costs = {}
    for number, index in found.items():
        ledger.write_bytes(b"".join(lines[: index + 1]))
        costs[number] = Ledger.open(ledger).epsilon()
    return costs


def test_a_run_tells_every_round_and_what_it_spent(settings, tiny_bert, tmp_path, told):
    out = tmp_path / "run"
    about = {"config": settings, "backbone": tiny_bert, "references": [], "quiet": True}
    starling.simulate(**about, out=out, track=["one"])
    logs = told()
    assert list(logs) == ["", *POINTS]
    assert logs[""].files == ["curve.png", "report.html", "results.csv"]
    assert all(log.closed for log in logs.values())
    for (name, number), seen in expected(out).items():
        assert seen.items() <= logs[name].steps[number].items()
    for number, cost in spent(out, POINTS[0]).items():
        if number:  # round 0 is before any
            assert logs[POINTS[0]].steps[number]["rounds/epsilon"] == pytest.approx(cost)
    last = logs[POINTS[0]].steps[2]
    (point, _) = results(out)["points"]
    assert last["point/epsilon"] == last["rounds/epsilon"] == point["epsilon"]
    assert last["point/hr@10"] == point["metrics"]["hr@10"]
    assert not any("epsilon" in name for name in logs[POINTS[1]].steps[2])  # infinite
    assert logs[POINTS[0]].settings["privacy"]["epsilon"] == 2.0
    # Afterwards the same is told of the folder, and by a run that has nothing left to compute.
    for again in (
        lambda: starling.load_run(out).track("two"),
        lambda: starling.simulate(resume=out, track=["two"], quiet=True),
    ):
        again()
        assert {n: (log.steps, log.files) for n, log in told().items()} == {
            n: (log.steps, log.files) for n, log in logs.items()
        }


def test_nothing_but_what_may_leave_is_told_of_a_real_run(run, tmp_path, told):
    """Whatever stands in its results: exact metrics and cohorts are planted here."""
    copy = shutil.copytree(run, tmp_path / "run")
    stated = load(copy)
    stated |= {"name": POINTS[0], "points": stated["points"][:1]}
    released = {"round": 2, "users": 9.0, "hr@10": {"value": 0.25, "low": 0.1, "high": 0.4}}
    stated["points"][0]["released_metrics"] = {"releases": [released]}
    (copy / "results.json").write_text(json.dumps(stated))
    assert not Results.read(copy / "results.json").simulated
    track_run(RunFolder(copy), Tracking(["one"]), print)
    logs = told()
    assert [log.files for log in logs.values()] == [[], []]
    names = {name for log in logs.values() for step in log.steps.values() for name in step}
    rows = sections()["tracker"]
    assert {rows.find(name).status.split(":")[0] for name in names} == {"public", "covered"}
    assert {"point/epsilon", "rounds/epsilon", "rounds/released_hr@10"} <= names
    assert not names & {"rounds/participants", "point/users", "point/seconds", "point/hr@10"}
    assert logs[POINTS[0]].steps[2]["rounds/released_hr@10"] == 0.25


def test_what_has_no_status_is_not_told(run, tmp_path, told):
    copy = shutil.copytree(run, tmp_path / "run")
    one = Tracking(["one"])
    results_ = Results.read(copy / "results.json")
    with one.of(RunFolder(copy), results_, print), one.point(*_point(results_, copy)) as log:
        log._tell({"people/who": 1.0, "rounds/participants": 3.0}, 1)
    assert told()[POINTS[0]].steps == {1: {"rounds/participants": 3.0}}


def _point(results_, folder):
    from shared.config import at_epsilon
    from shared.run_files import run_files

    return at_epsilon(results_.experiment(), 2.0, 0), run_files(folder, POINTS[0])


class Broken(Told):
    def open(self, name, settings):
        if name:
            raise OSError("the disk\nis full")
        return super().open(name, settings)


def test_a_tracker_that_fails_costs_a_warning(run, monkeypatch, capsys):
    kinds = {"one": Broken, "two": Told}
    monkeypatch.setattr(tracking, "trackers", lambda names: {name: kinds[name] for name in names})
    starling.load_run(run).track("one", "two")
    said = capsys.readouterr().out.splitlines()
    assert said == ["warning: --track one: the disk is full; it is told no more, the run goes on"]
    assert set(Told.last.logs) == {"", *POINTS}


def test_one_whose_store_is_elsewhere_is_told_of(run, monkeypatch, capsys):
    class Far(Told):
        elsewhere = "tracker.example"

    monkeypatch.setattr(tracking, "trackers", lambda names: dict.fromkeys(names, Far))
    starling.load_run(run).track("one")
    assert "exact figures of people go to tracker.example" in capsys.readouterr().out


@pytest.mark.parametrize("name", PACKAGES)
def test_without_its_package_it_is_refused_before_anything_is_made(
    name, settings, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, PACKAGES[name], None)
    done = command("simulate", "--config", settings, "--out", tmp_path / "r", "--track", name)
    assert done.code == 2
    assert done.error == (
        f"error: --track {name}: {PACKAGES[name]} is not installed; "
        f"pip install 'starling[{name}]' brings it"
    )
    assert not (tmp_path / "r").exists()


def test_an_interrupted_run_tells_a_new_log_from_its_first_round_on(
    settings, tiny_bert, tmp_path, told
):
    pytest.importorskip("tensorboard", reason="needs starling[tensorboard]")
    out = tmp_path / "run"
    words = ("simulate", "--config", settings, "--backbone", tiny_bert, "--out", out)
    more = ("--epsilon", "2", "--references", "none", "--rounds", "30", "--track", "tensorboard")
    process = start(*words, *more)
    stop_when(process, out / "ledger-eps-2-seed-0.jsonl", 8, signal.SIGINT)
    assert process.returncode == 130
    starling.simulate(resume=out, track=["one"], quiet=True)
    assert sorted(told()["eps-2-seed-0"].steps) == list(range(1, 31))


def _tensorboard(run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for name in ("", *POINTS):
        events = EventAccumulator(str(run / "tensorboard" / name)).Reload()
        if not name:
            assert events.Tags()["images"] == ["curve"]
            continue
        steps = {}
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                assert tag not in steps.setdefault(event.step, {})  # once, although told twice
                steps[event.step][tag] = event.value
        yield name, steps


def _mlflow(run, tmp_path):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("starling")
    runs = {one.info.run_name: one for one in client.search_runs([experiment.experiment_id])}
    whole = runs[run.name]
    files = {file.path for file in client.list_artifacts(whole.info.run_id)}
    assert files == {"curve.png", "report.html", "results.csv"}
    for name in POINTS:
        one = runs[name]
        assert one.info.status == "FINISHED"
        assert one.data.tags["mlflow.parentRunId"] == whole.info.run_id
        assert one.data.params["privacy.clipping_norm"] == "1.0"
        steps = {}
        for metric in one.data.metrics:
            for at in client.get_metric_history(one.info.run_id, metric):
                steps.setdefault(at.step, {})[metric.replace("_at_", "@")] = at.value
        yield name, steps


def _files(record):
    return record["files"]["files"]


def _wandb(run, tmp_path):
    for file in sorted((tmp_path / "wandb").glob("offline-run-*/run-*.wandb")):
        told = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
        shown = subprocess.run(told, capture_output=True, text=True, check=True).stdout
        records = [json.loads(line) for line in shown.splitlines()]
        (about,) = [each["run"] for each in records if each["type"] == "run"]
        assert about["run_group"] == run.name
        # Nothing that it found out by itself of the machine, the command or the code.
        assert (about.get("host"), about.get("git")) == ("localhost", None)
        kinds = {each["type"] for each in records}
        assert not kinds & {"stats", "environment", "output", "output_raw"}, kinds
        kept = {at.name for at in (file.parent / "files").iterdir()}
        if about["display_name"] == run.name:
            assert kept == {"curve.png", "report.html", "results.csv"}
            asked = [at["path"] for each in records if "files" in each for at in _files(each)]
            assert sorted(asked) == sorted(kept)
            continue
        assert kept == set()
        assert about["config"]["update"]["privacy"]["clipping_norm"] == 1.0
        steps = {}
        for each in records:
            if each["type"] == "history":
                row = each["history"]["item"]
                told = {key: value for key, value in row.items() if not key.startswith("_")}
                steps.setdefault(told.pop("round"), {}).update(told)
        yield about["display_name"].removeprefix(f"{run.name}/"), steps


@pytest.mark.filterwarnings("ignore")  # of other programs, about themselves
@pytest.mark.parametrize(
    ("name", "read"), [("tensorboard", _tensorboard), ("mlflow", _mlflow), ("wandb", _wandb)]
)
def test_what_each_tracker_keeps_is_read_back_by_its_own(
    name, read, run, tmp_path, monkeypatch, capsys
):
    pytest.importorskip(PACKAGES[name], reason=f"needs starling[{name}]")
    monkeypatch.chdir(tmp_path)
    for variable in ("WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(variable, raising=False)
    copy = shutil.copytree(run, tmp_path / "tracked")
    if name == "mlflow":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    for _ in range(2 if name == "tensorboard" else 1):
        starling.load_run(copy).track(name)
    assert capsys.readouterr() == ("", "")
    found = dict(read(copy, tmp_path))
    assert set(found) == set(POINTS)
    for (point, number), seen in expected(copy).items():
        for key, value in seen.items():
            if math.isfinite(value):
                assert found[point][number][key] == pytest.approx(value, rel=1e-6), key
    assert found[POINTS[0]][2]["point/epsilon"] == pytest.approx(2.0, rel=1e-4)
    assert starling.load_run(copy).verify().exit_code == 0  # its files are no strangers
    if name == "wandb":
        import wandb

        wandb.teardown()
