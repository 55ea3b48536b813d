"""The page of bad inputs: every case tried, and the line that it got.

python -m tests.support.bad.page docs/bad-input.md
"""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.bad.devices import DEVICES
from tests.support.bad.environments import ENVIRONMENTS
from tests.support.bad.files import FILES
from tests.support.bad.flags import FLAGS
from tests.support.bad.lab import Case, Lab, answer
from tests.support.bad.servers import SERVERS
from tests.support.bad.states import STATES

CASES = (*FLAGS, *FILES, *STATES, *DEVICES, *SERVERS, *ENVIRONMENTS)
KINDS = {
    "flag": "Flags and words",
    "value": "Values",
    "file": "Files",
    "state": "A run's folder",
    "device": "A device's folder",
    "server": "A server's folder",
    "environment": "The machine",
}
INTRODUCTION = """# Bad input

{count} things that a person or a machine may get wrong, each tried by \
`tests/e2e/command/test_bad_input.py`, and what `starling` answers. An answer is one line on \
standard error. Exit code 2 is a mistake in what was given or found, 3 a broken privacy claim, 0 \
that it works all the same. After a refusal nothing has been altered, lost or left behind. \
`--debug` adds \
a traceback; `starling doctor` looks over the whole machine.

Generated; rewrite it with `python -m tests.support.bad.page docs/bad-input.md`. Names such as \
`own.toml`, `run` and `tiny-bert` stand for whatever was given.

What a file from elsewhere may hold (nesting without end, numbers of thousands of digits, no text, \
values of another kind) is tried at each of its readers by `tests/e2e/command/test_malformed.py`.
"""
Row = tuple[str, str]  # exit code, line


def row(case: Case, found: Row) -> str:
    """One line of a table."""
    code, line = found
    return f"| {_code(case.tried)} | {code} | {_code(line) if line != '(works)' else 'works'} |"


def render(rows: dict[Case, Row]) -> str:
    """The whole page."""
    parts = [INTRODUCTION.format(count=len(rows))]
    for kind, title in KINDS.items():
        lines = [row(case, found) for case, found in rows.items() if case.kind == kind]
        parts.append(f"## {title}\n\n| tried | exit | answer |\n|---|---|---|\n" + "\n".join(lines))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _code(text: str) -> str:
    fence = "``" if "`" in text else "`"
    pad = " " if fence == "``" else ""
    return fence + pad + text.replace("|", "\\|") + pad + fence


@contextlib.contextmanager
def laboratory() -> Iterator[tuple[Path, Path, Path, Path]]:
    """Settings, backbone and a finished run outside of pytest."""
    from tests.support.command import command, write_settings
    from tests.support.tiny import save_tiny_bert

    with tempfile.TemporaryDirectory() as temporary, pytest.MonkeyPatch.context() as patch:
        folder = Path(temporary)
        for name in ("STARLING_HOME", "STARLING_CACHE"):
            patch.setenv(name, str(folder / name))
        for name in ("STARLING_OFFLINE", "HF_HUB_OFFLINE"):
            patch.setenv(name, "1")
        patch.setenv("COLUMNS", "300")
        patch.delenv("STARLING_DATA", raising=False)
        backbone, settings = save_tiny_bert(folder / "bert"), write_settings(folder)
        run = folder / "tiny"
        words = ("--config", settings, "--backbone", backbone, "--out", run, "--quiet")
        done = command("simulate", *words)
        if done.code:
            raise RuntimeError(done.err)
        yield folder, settings, backbone, run


def main(page: Path) -> None:
    """Try everything and write the page."""
    rows = {}
    with laboratory() as (folder, settings, backbone, run):
        for number, case in enumerate(CASES):
            place = folder / f"case-{number}"
            place.mkdir()
            with pytest.MonkeyPatch.context() as patch:
                rows[case] = answer(case, Lab(place, settings, backbone, run, patch))
    page.write_text(render(rows), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
