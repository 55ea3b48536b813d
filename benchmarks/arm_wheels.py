"""Which of a device's packages have a wheel for 64-bit Arm, at the versions of constraints.txt.

python benchmarks/arm_wheels.py [PACKAGE==VERSION ...]

Asked of the package index by pip, for those packages alone whose wheel holds compiled code here;
the others are the same for every processor. Packages that are named are asked for besides.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
PLATFORMS = ("manylinux2014_aarch64", "manylinux_2_17_aarch64", "manylinux_2_28_aarch64")


def compiled() -> list[str]:
    """What a device installs and is compiled: names of what starling[device] leads to."""
    seen: set[tuple[str, str]] = set()
    waiting = [("starling", ""), ("starling", "device")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or not is_here(name):
            continue
        seen.add((name, extra))
        for wanted in map(Requirement, importlib.metadata.requires(name) or []):
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                waiting += [(key(wanted.name), each) for each in ("", *wanted.extras)]
    names = sorted({name for name, _ in seen} - {"starling"})
    tags = {name: importlib.metadata.distribution(name).read_text("WHEEL") or "" for name in names}
    return [name for name in names if "-none-any" not in tags[name]]


def is_here(name: str) -> bool:
    """Whether a package is installed."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def key(name: str) -> str:
    """A package's name as the index spells it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def wheel(line: str) -> str:
    """The file that pip would install for 64-bit Arm; empty if there is none."""
    words = [sys.executable, "-m", "pip", "install", "-q", "--dry-run", "--report", "-"]
    words += ["--no-deps", "--only-binary=:all:", "--target", "nowhere", "--ignore-installed"]
    words += [word for platform in PLATFORMS for word in ("--platform", platform)]
    done = subprocess.run([*words, line], capture_output=True, text=True, check=False)
    if done.returncode:
        return ""
    (found,) = json.loads(done.stdout)["install"]
    return found["download_info"]["url"].rpartition("/")[2]


def main() -> None:
    """Print a row for each package."""
    pins = {key(line.split("==")[0]): line for line in CONSTRAINTS.read_text().split()}
    print("| package | version | 64-bit Arm |\n|---|---|---|")
    for line in [*(pins[name] for name in compiled() if name in pins), *sys.argv[1:]]:
        name, _, version = line.partition("==")
        print(f"| {name} | {version} | {wheel(line) or 'no wheel'} |", flush=True)


if __name__ == "__main__":
    main()
