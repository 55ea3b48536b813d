"""Tries one bad input in a folder of its own, and checks that nothing was lost or left behind."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.privacy.ledger.seal import digests, write_sealed
from tests.support.command import Done, command

ADAPTER = "adapters/eps-2-seed-0.safetensors"


@dataclass
class Lab:
    """What a case works with.

    `folder` is empty and its own; `settings`, `backbone` and `finished` (a complete run) are
    shared and must not be altered: `copy` the run first.
    """

    folder: Path
    settings: Path
    backbone: Path
    finished: Path
    patch: pytest.MonkeyPatch
    before: dict[Path, bytes] = field(default_factory=dict)
    after: dict[Path, bytes] = field(default_factory=dict)
    may_exist: set[str] = field(default_factory=set)  # besides what was there before

    def run(self, *words) -> Done:
        """Any command; from here on nothing in the folder may change."""
        self.before = self._files()
        done = command(*words)
        self.after = self._files()
        return done

    def simulate(self, *words) -> Done:
        """A new run into `out`, with the small settings unless others are named."""
        sources = {"--config", "--preset"} & set(words)
        given = [] if sources else ["--config", self.settings]
        out = [] if "--out" in words or "--resume" in words else ["--out", self.folder / "out"]
        backbone = [] if "--backbone" in words else ["--backbone", self.backbone]
        return self.run("simulate", *given, *backbone, *out, "--quiet", *words)

    def resume(self, run: Path, *words) -> Done:
        """Continue a run."""
        return self.run("simulate", "--resume", run, "--quiet", *words)

    def evaluate(self, *words) -> Done:
        """The finished run's adapter on its data, unless others are named."""
        return self._use("evaluate", words)

    def recommend(self, *words) -> Done:
        """The same for one user."""
        user = [] if "--user" in words else ["--user", "u1"]
        return self._use("recommend", (*user, *words))

    def _use(self, name, words):
        data = [] if "--data" in words else ["--data", "world"]
        data += [] if {"--data", "--users"} & set(words) else ["--users", 40]
        adapter = [] if "--adapter" in words else ["--adapter", self.finished / ADAPTER]
        return self.run(name, *data, *adapter, *words)

    def copy(self) -> Path:
        """A copy of the finished run that may be damaged."""
        return shutil.copytree(self.finished, self.folder / "run")

    def unfinished(self) -> Path:
        """A copy as it is left by a kill in the last evaluation of its private point."""
        run = self.copy()
        for kind in ("sealed", "outcome"):
            (run / "points" / f"eps-2-seed-0.{kind}.json").unlink()
        whole = ("curve.png", "report.html", "results.csv", "results.parquet")
        for path in [*run.glob("**/*eps-inf*"), *(run / name for name in whole)]:
            path.unlink()
        results = json.loads((run / "results.json").read_text())
        results |= {"points": [], "compared": [], "complete": False}
        files = digests(run, [run / "config.toml"])
        # As the resumption writes it again: references are sealed, and no point is.
        write_sealed(run / "results.json", results, files)
        return run

    def log(self, rows="u1,a,1\nu1,b,2\nu1,c,3\n", items="a,Alpha\nb,Beta\nc,Gamma\nd,Delta\n"):
        """A folder with a log; None leaves a file out, bytes are written as they are."""
        folder = self.folder / "log"
        folder.mkdir()
        for name, header, body in (
            ("interactions.csv", "user,item,timestamp\n", rows),
            ("items.csv", "item,text\n", items),
        ):
            if isinstance(body, bytes):
                (folder / name).write_bytes(body)
            elif body is not None:
                (folder / name).write_text(header + body)
        return folder

    def file(self, name: str, content: bytes | str = "") -> Path:
        """A file of its own."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def changes(self) -> list[str]:
        """What was altered, lost or left behind by the last command, by name."""
        altered = [path for path in self.before if self.after.get(path) != self.before[path]]
        new = [path for path in self.after if path not in self.before]
        names = {str(path.relative_to(self.folder)) for path in [*altered, *new]}
        return sorted(names - self.may_exist - {"run/.lock"})

    def _files(self):
        paths = [path for path in self.folder.rglob("*") if not path.is_symlink()]
        return {path: _content(path) for path in paths}

    def plain(self, line: str) -> str:
        """The line without what differs between machines, versions and days."""
        for path, name in (
            (f"{self.folder}/", ""),
            (str(self.folder), "."),
            (str(self.settings), "settings.toml"),
            (str(self.finished), "run"),
            (str(self.backbone), "tiny-bert"),
        ):
            line = line.replace(path, name)
        line = re.sub(r"(?<!')\b\d{4}-\d\d-\d\d(T[\d:]+\+00:00)?", "<date>", line)
        return re.sub(r"\b(?=[0-9]*[a-f])[0-9a-f]{12,64}\b", "<hash>", line)


def _content(path):
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:  # a folder, or a file that may not be read
        return b""


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes
    ----------
    kind : str
        flag, file, value, state, device, server or environment.
    tried : str
        In words, for the page.
    act : callable
        Tries it and returns how the command ended.
    code : int
        The exit code that is expected.
    """

    kind: str
    tried: str
    act: Callable[[Lab], Done]
    code: int = 2


def answer(case: Case, lab: Lab) -> tuple[str, str]:
    """The row's last two cells: exit code and line. Fails where the house rules are broken."""
    done = case.act(lab)
    assert "Traceback" not in done.err, done.err
    assert done.code == case.code, (case.tried, done.code, done.err)
    lines = done.err.strip().splitlines()
    assert len(lines) <= 1, done.err
    if done.code:
        assert len(lines) == 1, "a refusal says why"
        assert lab.changes() == [], case.tried
    return str(done.code), lab.plain(lines[0]) if lines else "(works)"
