"""What may be wrong with a run's folder when it is begun, resumed or verified."""

import json

from shared.files import FolderLock
from tests.support.bad.files import cut
from tests.support.bad.lab import Case
from tests.support.command import unfinish

SEALED = "points/eps-2-seed-0.sealed.json"
CHECKPOINT = "points/eps-2-seed-0.checkpoint"
LEDGER = "ledger-eps-2-seed-0.jsonl"
DATA = "points/data.json"
REPORT = "report.html"


def out_again(lab):
    return lab.simulate("--out", lab.copy())


def foreign_out(lab):
    lab.file("thesis.tex", "years of work")
    return lab.simulate("--out", lab.folder)


def out_that_leads_back(lab):
    lab.file("thesis.tex", "years of work")
    return lab.simulate("--out", lab.folder / "new" / "..")


def file_as_out(lab):
    return lab.simulate("--out", lab.file("out"))


def below_a_file(lab):
    return lab.simulate("--out", lab.file("file") / "out")


def no_run(lab):
    return lab.resume(lab.folder)


def no_folder(lab):
    return lab.resume(lab.folder / "none")


def other_settings(lab):
    return lab.resume(lab.copy(), "--rounds", 5)


def busy(lab):
    run = unfinish(lab.copy())
    with FolderLock(run) as lock:
        lock.take()
        return lab.resume(run)


def _damaged(name, damage, resume=True, unfinished=False):
    def act(lab):
        run = lab.unfinished() if unfinished else lab.copy()
        if resume and name != REPORT:
            unfinish(run)
        damage(run / name)
        return lab.resume(run) if resume else lab.run("verify", run)

    return act


def _text(old, new):
    def damage(path):
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new, 1))

    return damage


def _without(key):
    def damage(path):
        content = json.loads(path.read_text())
        del content[key]
        path.write_text(json.dumps(content))

    return damage


def drop_last_line(path):
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def other_digest(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": "0" * 64}))


SHORT = """
[federation]
rounds = 1
cohort = 1.0
[model]
max_length = 4
[sweep]
epsilons = [inf]
references = []
"""


def changed_data(lab):
    """The log grew between the two starts."""
    rows = "u1,a,1\nu1,b,2\nu1,c,3\nu2,d,4\n"
    folder, run = lab.log(rows), lab.folder / "run"
    begun = lab.simulate("--config", lab.file("own.toml", SHORT), "--data", folder, "--out", run)
    assert begun.code == 0, begun.err
    with (folder / "interactions.csv").open("a") as stream:
        stream.write("u1,d,9\n")
    return lab.resume(unfinish(run))


def changed_weights(lab):
    """The backbone's weights were replaced between the two starts."""
    import shutil

    from safetensors.numpy import load_file, save_file

    run = lab.copy()
    backbone = shutil.copytree(lab.backbone, lab.folder / "bert")
    arrays = load_file(backbone / "model.safetensors")
    name = sorted(arrays)[0]
    save_file(arrays | {name: arrays[name] + 1}, backbone / "model.safetensors", {"format": "pt"})
    for file in (run / "config.toml", run / "results.json"):
        file.write_text(file.read_text().replace(str(lab.backbone), str(backbone)))
    return lab.resume(unfinish(run))


RESUME = {
    "results.json cut short": _damaged("results.json", cut, unfinished=True),
    "results.json removed": _damaged("results.json", lambda p: p.unlink()),
    "config.toml cut short": _damaged("config.toml", lambda p: p.write_text("[data]\nspec = ")),
    "config.toml empty": _damaged("config.toml", lambda p: p.write_text("")),
    "the run's working state is of other data than is there": _damaged(DATA, other_digest),
    "the run's working state does not say of which data": _damaged(DATA, lambda p: p.unlink()),
    "config.toml edited": _damaged("config.toml", _text("rounds = 2", "rounds = 3")),
    "a finished point cut short": _damaged(SEALED, cut),
    "a finished point without its metrics": _damaged(SEALED, _without("metrics")),
    "a finished point that is a list": _damaged(SEALED, lambda p: p.write_text("[]")),
    "a reference point cut short": _damaged("points/reference-popularity.json", cut),
    "the checkpoint cut short": _damaged(CHECKPOINT, cut, unfinished=True),
    "the checkpoint empty": _damaged(CHECKPOINT, lambda p: p.write_bytes(b""), unfinished=True),
}
LEDGERS = {
    "a file of a finished run removed": _damaged(REPORT, lambda p: p.unlink()),
    "the ledger edited": _damaged(LEDGER, _text('"round":1', '"round":9'), unfinished=True),
    "the ledger's last line removed": _damaged(LEDGER, drop_last_line, unfinished=True),
    "the ledger removed": _damaged(LEDGER, lambda p: p.unlink(), unfinished=True),
    "the ledger empty": _damaged(LEDGER, lambda p: p.write_bytes(b""), unfinished=True),
}
VERIFY = {
    "results.json removed": (_damaged("results.json", lambda p: p.unlink(), False), 2),
    "results.json cut short": (
        _damaged("results.json", lambda p: p.write_text('{"schema": 1'), False),
        2,
    ),
    "results.json of another schema": (
        _damaged("results.json", _text('"schema": 1', '"schema": 9'), False),
        2,
    ),
    "results.json without points": (_damaged("results.json", _without("points"), False), 2),
}

STATES = (
    Case("state", "simulate --out: a folder that holds a run", out_again),
    Case("state", "simulate --out: a folder with other files", foreign_out),
    Case("state", "simulate --out: a way back to such a folder", out_that_leads_back),
    Case("state", "simulate --out: a file", file_as_out),
    Case("state", "simulate --out: a folder below a file", below_a_file),
    Case("state", "simulate --resume: a folder without a run", no_run),
    Case("state", "simulate --resume: no folder", no_folder),
    Case("state", "simulate --resume: with other settings", other_settings),
    Case("state", "simulate --resume: another process is at work there", busy),
    Case("state", "simulate --resume: the log grew", changed_data),
    Case("state", "simulate --resume: the backbone's weights changed", changed_weights),
    *(Case("state", f"simulate --resume: {name}", act) for name, act in RESUME.items()),
    *(Case("state", f"simulate --resume: {name}", act, 3) for name, act in LEDGERS.items()),
    *(Case("state", f"verify: {name}", act, code) for name, (act, code) in VERIFY.items()),
)
