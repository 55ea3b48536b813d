"""What `--resume` finds, and what it does: a finished run is shown, an unfinished one continued.

One table, state x command: which files are as they were, what is said, and with which exit code.
"""

import errno
import importlib.metadata
import json
import re
import shlex
import shutil
from contextlib import nullcontext

import click
import pytest

from shared.errors import ConfigError, DataError, EngineError, LedgerError
from shared.run_files import RunFolder, run_files
from simulations.sweep import point as point_module
from simulations.sweep import sweep as sweep_module
from tests.support.bad.environments import without_override
from tests.support.command import command, results, unfinish, write_settings

POINTS = ("eps-2-seed-0", "eps-inf-seed-0")


def content(folder):
    """Every file of a run, and when it was written; the lock is nobody's result."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(at.relative_to(folder)): (at.read_bytes(), at.stat().st_mtime_ns) for at in files}


def as_it_is(run):
    """Nothing is wrong with it."""


def read_only(run):
    for path in [*run.rglob("*"), run]:
        path.chmod(0o500 if path.is_dir() else 0o400)


def without_curve(run):
    (run / "curve.png").unlink()


def other_report(run):
    (run / "report.html").write_text("mine")


def cut_ledger(run):
    file = run / "ledger-eps-2-seed-0.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-1]))


def edited_results(run):
    file = run / "results.json"
    file.write_text(file.read_text().replace('"hr@10": 0.', '"hr@10": 1.', 1))


SHOWN = "complete, nothing is computed or written again"
# state -> exit code of --resume, and what it says
STATES = {
    as_it_is: (0, SHOWN),
    read_only: (0, SHOWN),
    without_curve: (3, "'curve.png': sealed, but missing"),
    other_report: (3, "report.html: not the file that was sealed"),
    cut_ledger: (3, "cut, extended or rewritten"),
    edited_results: (3, "results.json: edited after it was sealed"),
}
# command -> exit code whatever is wrong, or None for that of the state
COMMANDS = {
    "resume": (("simulate", "--resume", "{run}"), None),
    "resume, other workers": (("simulate", "--resume", "{run}", "--workers", 2), None),
    "resume, other rounds": (("simulate", "--resume", "{run}", "--rounds", 5), 2),
    "begin again": (("simulate", "--preset", "default", "--out", "{run}"), 2),
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=list(COMMANDS))
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_no_command_writes_to_a_finished_run(state, words, run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "moved" / "run")
    state(copy)
    before = content(copy)
    code, said = STATES[state]
    typed, fixed = words
    with without_override() if state is read_only else nullcontext():
        done = command(*(str(word).format(run=copy) for word in typed))
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o700)
    assert content(copy) == before
    assert done.code == (code if fixed is None else fixed), done.err
    assert len(done.err.splitlines()) == 1
    if fixed is None:
        assert said in done.err
        assert ("Check it: starling verify" in done.out) is (code == 0)
        assert "updates" not in done.err


def test_a_run_without_its_working_files_is_shown_too(run, tmp_path):
    """They are not handed on, and it is the seal that makes a run complete."""
    copy = shutil.copytree(run, tmp_path / "run")
    for name in POINTS:
        for file in run_files(copy, name).working:
            file.unlink(missing_ok=True)
    RunFolder(copy).data.unlink()
    before = content(copy)
    done = command("simulate", "--resume", copy)
    assert (done.code, content(copy)) == (0, before), done.err
    assert SHOWN in done.err


def test_finished_parts_are_not_made_again_and_what_is_missing_is(run, tmp_path):
    """After a crash before the end: the curve, or a point of which nothing but its ledger is."""
    copy = unfinish(shutil.copytree(run, tmp_path / "run"))
    before = content(copy)
    done = command("simulate", "--resume", copy)
    assert done.code == 0, done.err
    assert "updates" not in done.err  # nothing was to be computed
    after = content(copy)
    again = {name for name in after if after[name] != before.get(name)}
    assert again == {"results.json", "curve.png", "report.html", "results.csv", "results.parquet"}
    assert results(copy)["points"] == results(run)["points"]
    assert command("verify", copy).code == 0


def _cut(file):
    file.write_bytes(file.read_bytes()[:-200])


def _linked(file):
    file.unlink()
    file.symlink_to("elsewhere")


def _unsealed(file):
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({name: whole[name] for name in whole if name != "seal"}))


# What was done to results.json -> exit code of --resume, and what it says.
DAMAGE = {
    "cut short": (_cut, 2, "damaged, not whole JSON; restore it from a copy"),
    "emptied": (lambda file: file.write_text(""), 2, "damaged, not whole JSON"),
    "no object": (lambda file: file.write_text("[]"), 2, "damaged, no JSON object"),
    "no text": (lambda file: file.write_bytes(b"\xff" * 9), 2, "damaged, not whole JSON"),
    "another file's": (lambda file: file.write_text("{}"), 2, "damaged, complete is missing"),
    "no seal": (_unsealed, 3, "not sealed"),
    "removed": (lambda file: file.unlink(), 2, "missing, and "),
    "a link to nothing": (_linked, 2, "missing, and "),
    "not complete": (
        lambda file: file.write_text(file.read_text().replace('"complete": true', '"complete": 0')),
        3,
        "edited after it was sealed",
    ),
}


@pytest.mark.parametrize("drawn", [True, False], ids=["drawn", "not drawn"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_results_that_were_damaged_are_not_made_a_second_time(damage, drawn, run, tmp_path):
    """An interruption leaves them whole, and there: whatever else was sealed tells that."""
    copy = shutil.copytree(run, tmp_path / "run")
    if not drawn:
        for name in ("curve.png", "report.html"):
            (copy / name).unlink()
    act, code, said = DAMAGE[damage]
    act(copy / "results.json")
    before = content(copy)
    done = command("simulate", "--resume", copy)
    assert (done.code, said in done.error) == (code, True), done.err
    assert "restore it from a copy, or start a new run with another --out" in done.error
    assert content(copy) == before


@pytest.mark.parametrize("name", ["eps-2-seed-0.sealed", "reference-popularity"])
def test_a_finished_part_that_is_lost_is_not_made_a_second_time(name, run, tmp_path):
    copy = unfinish(shutil.copytree(run, tmp_path / "run"))
    (copy / "points" / f"{name}.json").unlink()
    before = content(copy)
    done = command("simulate", "--resume", copy, "--quiet")
    assert done.code == 3
    assert f"what {name.removeprefix('reference-').removesuffix('.sealed')} found" in done.error
    assert content(copy) == before


class Stop(KeyboardInterrupt):
    """Stands for Ctrl-C."""


def _told_as_setting():
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError:
        try:
            raise ConfigError("run: cannot be written") from None
        except ConfigError as error:
            return error


@pytest.fixture
def interrupted(tiny_bert, tmp_path, monkeypatch):
    """A run of four rounds, stopped in the third of its second point; with other versions."""

    def start(**versions):
        folder = tmp_path / "my run"
        settings = write_settings(tmp_path, rounds=4, references=("popularity",))
        real = sweep_module._tell

        def tell(entry, advance):
            real(entry, advance)
            if entry["round"] == 3 and (folder / "points" / "eps-2-seed-0.sealed.json").exists():
                raise Stop

        with monkeypatch.context() as patch:
            in_other_versions(patch, versions)
            patch.setattr(sweep_module, "_tell", tell)
            words = ("--config", settings, "--backbone", tiny_bert, "--out", folder)
            return folder, command("simulate", *words)

    return start


def in_other_versions(patch, versions):
    real = importlib.metadata.version
    patch.setattr(
        "simulations.sweep.environment.importlib.metadata.version",
        lambda name: versions.get(name) or real(name),
    )


def test_an_interruption_says_the_exact_command_and_what_remains_is_counted(interrupted):
    folder, first = interrupted()
    assert first.code == 130
    last = first.err.splitlines()[-1]
    assert last == f"interrupted; continue: starling simulate --resume '{folder}'"
    asked = re.match(r"(\d+) client updates to go", first.err)
    assert int(asked[1]) == 2 * 4 * 12  # of popularity none
    again = command("simulate", "--resume", folder)
    assert again.code == 0, again.err
    lines = again.err.splitlines()
    assert lines[0] == "24 client updates to go"  # of one point two rounds, not yet on disk
    assert "popularity" not in again.err
    assert "epsilon 2," not in again.err
    counts = [(int(n), int(of)) for n, of in re.findall(r"(\d+)/(\d+) updates", again.err)]
    assert all(n <= of == 24 for n, of in counts)
    assert lines[-1].startswith("finished after 24/24 updates")
    assert "with torch" not in again.err  # by the same versions
    assert "versions" not in again.out
    found = results(folder)
    assert [at["environments"] for at in found["points"]] == [[found["environment"]]] * 2


CRASHES = {
    "by hand": (Stop(), 130, "interrupted", True),
    "a full disk": (OSError(errno.ENOSPC, "No space left on device", "f"), 2, "No space", True),
    "no memory": (MemoryError(), 2, "not enough memory", True),
    "a worker": (EngineError("a worker was lost"), 1, "a worker was lost", True),
    "a mistake of ours": (RuntimeError("unheard of"), 1, "unexpected", True),
    "a full disk, told as a setting": (_told_as_setting(), 2, "cannot be written", True),
    "data": (DataError("an item is missing"), 2, "an item is missing", False),
    "an altered ledger": (LedgerError("it was cut"), 3, "it was cut", False),
}


@pytest.mark.parametrize(
    ("crash", "begun"),
    [*((name, True) for name in CRASHES), ("by hand", False), ("a worker", False)],
)
def test_what_stops_a_run_says_how_to_go_on_where_that_is_true(
    crash, begun, tiny_bert, tmp_path, monkeypatch
):
    error, code, words, continues = CRASHES[crash]

    def fail(*_):
        raise error

    error.__dict__.pop("__notes__", None)  # of the case before
    monkeypatch.setattr(sweep_module, "_sweep" if begun else "_points", fail)
    monkeypatch.chdir(tmp_path)
    name = "it's [red] 100%"
    done = command(
        "simulate", "--users", 30, "--cohort", 0.5, "--backbone", tiny_bert, "--out", name
    )
    assert (done.code, words in done.error) == (code, True), done.err
    said = f"continue: starling simulate --resume {shlex.quote(name)}"
    assert (said in done.error) is (begun and continues)
    assert ("nothing was made yet" in done.error) is (not begun and isinstance(error, Stop))
    assert "--resume" not in done.error.replace(said, "")


@pytest.mark.parametrize(
    "words", [("data", "ls"), ("verify", "."), ("account", "--noise", 1), ("policy", "key")]
)
def test_what_has_nothing_to_continue_does_not_speak_of_it(words, monkeypatch):
    def stop(*_):
        raise Stop

    monkeypatch.setattr(click.Command, "invoke", stop)
    done = command(*words)
    assert (done.code, done.error) == (130, "interrupted")


def test_every_part_says_what_computed_it_and_another_version_is_told(interrupted, monkeypatch):
    folder, _ = interrupted(torch="1.0", starling="0.0.1")
    before = content(folder)
    with monkeypatch.context() as patch:
        in_other_versions(patch, {"torch": "2.0"})
        done = command("simulate", "--resume", folder, "--quiet")
    assert done.code == 0, done.err
    assert done.error.startswith("this run was worked on with ")
    assert "torch 1.0 (here 2.0)" in done.error
    assert "starling 0.0.1 (here " in done.error
    assert "flwr" not in done.error
    found = results(folder)
    one, two = found["points"]
    assert [at["torch"] for at in one["environments"]] == ["1.0"]
    assert [at["torch"] for at in two["environments"]] == ["1.0", "2.0"]
    assert found["references"]["popularity"]["environments"][0]["starling"] == "0.0.1"
    assert found["environment"]["torch"] == "2.0"
    assert (
        content(folder)["points/eps-2-seed-0.sealed.json"]
        == (before["points/eps-2-seed-0.sealed.json"])
    )
    assert command("verify", folder).code == 0
    assert "torch 1.0, 2.0" in done.out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "torch 1.0, 2.0" in page


def log(folder):
    folder.mkdir()
    rows = [f"u{n},i{(n + step) % 12},{step}\n" for n in range(6) for step in range(6)]
    (folder / "interactions.csv").write_text("user,item,timestamp\n" + "".join(rows))
    (folder / "items.csv").write_text("item,text\n" + "".join(f"i{n},{n}\n" for n in range(12)))
    return folder


@pytest.fixture
def begun_in_its_folder(tiny_bert, tmp_path, monkeypatch):
    """A run of relative paths, stopped before it began its point."""
    project = tmp_path / "project"
    project.mkdir()
    log(project / "data")
    shutil.copytree(tiny_bert, project / "bert")
    monkeypatch.chdir(project)

    def stop(*_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(point_module, "_federate", stop)
        begun = command(
            "simulate", "--data", "./data", "--backbone", "bert", "--rounds", 1, "--cohort", 1,
            "--epsilon", "inf", "--delta", 0.01, "--references", "none", "--out", "run",
        )  # fmt: skip
    assert begun.code == 130
    return project


def test_relative_paths_lead_from_where_the_run_was_started(
    begun_in_its_folder, tmp_path, monkeypatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = log(elsewhere / "data")  # of the same name, and not the run's
    (other / "interactions.csv").write_text("user,item,timestamp\na,b,1\n")
    monkeypatch.chdir(elsewhere)
    done = command("simulate", "--resume", "../project/run", "--quiet")
    assert done.code == 0, done.err
    assert results(begun_in_its_folder / "run")["data"]["spec"] == "./data"
    assert results(begun_in_its_folder / "run")["data"]["users"] == 6


def test_a_whole_project_that_was_moved_goes_on_where_it_is(
    begun_in_its_folder, tmp_path, monkeypatch
):
    moved = begun_in_its_folder.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    assert command("simulate", "--resume", "run", "--quiet").code == 0


def test_data_that_are_in_neither_place_say_from_where_they_were(
    begun_in_its_folder, tmp_path, monkeypatch
):
    shutil.rmtree(begun_in_its_folder / "data")
    monkeypatch.chdir(tmp_path)
    done = command("simulate", "--resume", "project/run", "--quiet")
    assert done.code == 2
    assert f"the run was started in {begun_in_its_folder}" in done.error


def test_where_it_was_started_is_in_no_file_that_is_handed_on(begun_in_its_folder):
    """Paths are private: settings hold what was typed."""
    assert command("simulate", "--resume", "run", "--quiet").code == 0
    run = begun_in_its_folder / "run"
    found = {
        str(at.relative_to(run))
        for at in run.rglob("*")
        if at.is_file() and str(begun_in_its_folder).encode() in at.read_bytes()
    }
    assert found == {"points/data.json"}
    assert json.loads((run / "points/data.json").read_text())["started"] == str(begun_in_its_folder)
