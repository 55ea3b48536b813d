"""How long first answers take, beside `python -c "import numpy"` in the same run.

python benchmarks/first_answers.py [CHECKOUT ...]   # each with a .venv; this one by default

Every figure is the least of three. Ratios are to the import of numpy, measured before each command:
seconds alone would be those of a machine, and of what else it does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMES = 3
COMMANDS = (
    "--help",
    "simulate --help",
    "account --help",
    "verify --help",
    "evaluate --help",
    "data inspect --help",
    "policy check --help",
    "account --epsilon 8 --rounds 40 --sampling 0.1 --users 943",
    "data ls",
    "data inspect world",
    "policy key",
    "doctor",
)


def measured(checkout: Path, line: str) -> tuple[float, float, float]:
    """Seconds to the first letter and to the end of a command, and of importing numpy."""
    python = str(checkout / ".venv" / "bin" / "python")
    found = []
    for _ in range(TIMES):
        peer = _seconds([python, "-c", "import numpy"], checkout)[1]
        found.append((*_seconds([python, "starling.py", *line.split()], checkout), peer))
    first, end, peer = (min(values) for values in zip(*found, strict=True))
    return first, end, peer


def _seconds(words: list[str], checkout: Path) -> tuple[float, float]:
    environment = {**os.environ, "PYTHONPATH": str(checkout), "HF_HUB_OFFLINE": "1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        words, cwd=checkout, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    told = process.stdout
    if told is None:
        raise OSError("a process without standard output")
    told.read(1)
    first = time.perf_counter() - start
    told.read()
    process.wait()
    return first, time.perf_counter() - start


def main(checkouts: list[Path]) -> None:
    """Print one table in Markdown."""
    columns = [f"{checkout.name}: first, end" for checkout in checkouts]
    print("| command | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for line in COMMANDS:
        cells = []
        for checkout in checkouts:
            first, end, peer = measured(checkout, line)
            cells.append(f"{first:.2f} s ({first / peer:.1f}x), {end:.2f} s ({end / peer:.1f}x)")
        print(f"| `{line}` | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main([Path(word).resolve() for word in sys.argv[1:]] or [ROOT])
