"""The steps of the Dockerfiles, carried out without Docker: over a copy-on-write root, as root.

Every COPY and RUN of a stage and of those before it, in order; then its command's help, and of the
image for simulations a small one, as the stage's user. The base image's Python is this machine's.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.deploy.units import Dockerfile

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
OVERLAY = (
    "mkdir -p {0}/upper {0}/work {0}/root && "
    "mount -t overlay overlay -o lowerdir=/,upperdir={0}/upper,workdir={0}/work {0}/root && "
    "mount --rbind /proc {0}/root/proc && mount --rbind /dev {0}/root/dev"
)


def inside(folder, lines):
    """Run lines of a shell in a mount namespace of their own; the root that they change is lost."""
    script = "\n".join(["set -e", OVERLAY.format(folder), *lines])
    told = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    told["PATH"] = f"{Path(sys.executable).parent}:{told['PATH']}"
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=ROOT,
        env=told,
        capture_output=True,
        text=True,
        check=False,
    )


def can_overlay(folder):
    return os.getuid() == 0 and inside(folder, ["true"]).returncode == 0


FEW = "--preset demo --users 30 --cohort 1 --rounds 1 --epsilon 8 --seeds 0 --references none"
RUNS = {"simulations": [f"simulate {FEW} --out /runs/first", "verify /runs/first"]}


def steps(file, name, root, typed=()):
    """Lines that make a stage, then show that its user can start its program, and what is typed."""
    image = Dockerfile(file)
    stages, settings, place = image.stages, {}, "/"
    lines = [f"chmod a+rx {root}/root"]  # pyenv's Python lies there; the base image's does not
    seen = []
    for word, rest in image.instructions:
        if word == "FROM":
            if seen and seen[-1].name == name:
                break
            seen.append(stages[len(seen)])
        elif word == "ENV":
            settings |= dict(each.split("=", 1) for each in shlex.split(rest))
        elif word == "ARG":
            settings[rest.partition("=")[0]] = ""  # --build-arg: what the index here has
        elif word == "WORKDIR":
            place = rest
            lines.append(f"mkdir -p {root}{place}")
        elif word == "COPY":
            *sources, target = shlex.split(rest)
            lines += [f"cp -r {each} {root}{place}/{target}" for each in sources]
        elif word == "RUN":
            lines.append(chroot(root, place, settings, rest))
    stage = seen[-1]
    user, _, group = stage.user.partition(":")
    as_user = f"setpriv --reuid {user} --regid {group} --clear-groups"
    for words in ([*stage.command, "--help"], *map(shlex.split, typed)):
        command = shlex.join([*stage.entrypoint, *words])
        lines.append(chroot(root, place, settings, f"{as_user} {command}"))
    lines.append(f"du -sm {root}/opt/starling | cut -f1")
    return lines


def chroot(root, place, settings, command):
    told = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    return f"env {told} chroot {root} sh -ec {shlex.quote(f'cd {place}; {command}')}"


@pytest.mark.parametrize(
    ("room", "stage"),
    [("client", "relay"), ("client", "device"), ("server", ""), ("simulations", "")],
)
def test_an_image_can_be_made_and_its_user_can_start_it(room, stage, tmp_path):
    if not can_overlay(tmp_path / "probe"):
        pytest.skip("needs root, and mounts")
    file = ROOT / room / "packaging" / "Dockerfile"
    try:
        made = steps(file, stage, tmp_path / "made" / "root", RUNS.get(room, ()))
        done = inside(tmp_path / "made", made)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "Usage: starling" in done.stdout
        assert ("Claims, ledgers and files agree." in done.stdout) == (room in RUNS)
        torch = (tmp_path / "made/upper/opt/starling/lib").glob("*/site-packages/torch/__init__.py")
        assert bool(list(torch)) == (stage != "relay")
    finally:
        shutil.rmtree(tmp_path)
