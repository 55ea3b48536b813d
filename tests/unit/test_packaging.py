"""Units and images run commands that exist, as users of their own, and hold no secret."""

import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml

from client.device.limits import Limits
from tests.support import ROOT
from tests.support.absent import hiding
from tests.support.deploy.typed import problem, typed_in, words_of
from tests.support.deploy.units import Dockerfile, seconds, unit

DEVICE, SERVER = ROOT / "client" / "packaging", ROOT / "server" / "packaging"
UNITS = sorted([*DEVICE.glob("*.service"), *SERVER.glob("*.service")])
IMAGES = [at / "Dockerfile" for at in (DEVICE, SERVER, ROOT / "simulations" / "packaging")]
COMPOSED = [DEVICE / "compose.yaml", SERVER / "compose.yaml"]
PROGRAM = "/opt/starling/bin/starling"
EXPOSURE = {  # at most, of `systemd-analyze security`; 10 is no sandbox at all
    "starling-device@.service": 10,
    "starling-page@.service": 16,
    "starling-relay@.service": 17,
    "starling-server.service": 17,
}
every_unit = pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)


def test_what_is_no_python_is_installed_too():
    """A page or a preset that a wheel leaves out would be missed on a device only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]
    found = {
        (package, file)
        for package in ("shared", "client", "server", "simulations")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert len(found) > 10
    told = {
        (package, file)
        for package, globs in patterns.items()
        for pattern in globs
        for file in (ROOT / package).glob(pattern)
    }
    assert found - told == set()


def services():
    """(file, name, what compose is told) of all services."""
    return [
        (file, name, service)
        for file in COMPOSED
        for name, service in yaml.safe_load(file.read_text())["services"].items()
    ]


every_service = pytest.mark.parametrize(
    ("file", "service"), [pytest.param(f, s, id=name) for f, name, s in services()]
)


@every_unit
def test_a_unit_starts_a_command_that_exists(file):
    (line,) = unit(file)["Service"]["ExecStart"]
    program, *words = line.replace("%i", "ann").split()
    assert program == PROGRAM
    assert problem(words) == ""


@every_service
def test_a_service_starts_a_command_that_exists(file, service):
    assert problem(service["command"]) == ""


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.parent.parent.name)
def test_an_image_starts_a_command_that_exists_as_nobody_special(file):
    stages = Dockerfile(file).stages
    assert stages
    for stage in stages:
        assert stage.entrypoint == [PROGRAM]
        assert problem(stage.command) == ""
        assert stage.user not in ("", "0", "root", "0:0")


def test_what_cannot_be_typed_is_seen():
    assert problem(["verify", "runs/ml"]) == ""
    assert "--kye" in problem(["verify", "runs/ml", "--kye", "x"])
    assert problem(["policy", "show"]).startswith("needs")
    assert problem(["client", "serv"])
    assert problem(["policy", "key", "x"]) == "unexpected x"
    page = (
        "```\nsudo -u ann A=1 /x/starling policy key | tee k  # --no\n# starling a\n```\nstarling b"
    )
    assert typed_in(page) == [["policy", "key"]]
    assert words_of('KEY="$(starling policy key)"') == [["policy", "key"]]
    assert words_of("docker compose -f a/b run --rm relay client join x") == [
        ["client", "join", "x"]
    ]
    assert words_of("sudo ln -s /opt/starling/bin/starling /usr/bin/starling") == []


@pytest.mark.parametrize(
    "page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda page: page.name
)
def test_what_a_page_types_can_be_typed(page):
    words = typed_in(page.read_text(encoding="utf-8"))
    assert [(line, found) for line in words if (found := problem(line))] == []


def test_who_runs_what():
    """The gate, the relay and the server are three users; the page is the gate's.

    Each person's relay is a user of its own: one of all would be answered by everybody's device.
    """
    users = {file.name: unit(file)["Service"]["User"][0] for file in UNITS}
    assert users == {
        "starling-device@.service": "%i",
        "starling-page@.service": "%i",
        "starling-relay@.service": "starling-relay-%i",
        "starling-server.service": "starling-server",
    }
    device, relay = (
        unit(DEVICE / f"starling-{name}@.service")["Service"] for name in ("device", "relay")
    )
    assert device["Group"] == relay["Group"] == relay["User"]
    assert device["ExecStart"][0].split("--uid ")[1].split() == relay["User"]
    (node,) = unit(DEVICE / "starling-relay@.service")["Unit"]["ConditionPathExists"]
    assert f"client relay {node.removesuffix('/node.toml')}" in relay["ExecStart"][0]
    assert node.startswith(f"/var/lib/{relay['StateDirectory'][0]}/")
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"--node {node.removesuffix('/node.toml').replace('%i', 'ann')} " in page
    assert "sudo -u starling-relay-ann starling client join" in page
    who = {name: service["user"] for _, name, service in services()}
    assert who["device"] == who["page"]
    assert len({who["device"], who["relay"], who["server"]}) == 3
    uid = who["relay"].partition(":")[0]  # whom the device answers, here and in its image
    told = [s["command"] for _, name, s in services() if name == "device"]
    told += [stage.command for stage in Dockerfile(IMAGES[0]).stages if stage.name == "device"]
    assert [words[words.index("--uid") + 1] for words in told] == [uid, uid]


def test_what_each_unit_may_reach():
    told = {file.name: unit(file)["Service"] for file in UNITS}
    device, page, relay = (
        told[f"starling-{name}@.service"] for name in ("device", "page", "relay")
    )
    assert device["PrivateNetwork"] == ["yes"]
    assert device["RestrictAddressFamilies"] == ["AF_UNIX"]
    assert (page["IPAddressDeny"], page["IPAddressAllow"]) == (["any"], ["localhost"])
    assert "-/var/lib/starling" in relay["InaccessiblePaths"][0].split()
    assert device["StateDirectory"] == ["starling/%i"]
    assert "StateDirectory" in relay
    assert "PrivateUsers" not in device  # the relay's user would not be told from any other
    for service in told.values():
        assert service["NoNewPrivileges"] == ["yes"]
        assert service["ProtectSystem"] == ["strict"]
        assert service["ProtectHome"] == ["yes"]
        assert service["CapabilityBoundingSet"] == [""]
    for _, name, service in services():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service.get("network_mode") == {"device": "none", "page": "host"}.get(name)


def test_the_socket_is_the_same_for_both_sides():
    """What the device's unit makes is what docs/deploy.md has the relay join with."""
    (line,) = unit(DEVICE / "starling-device@.service")["Service"]["ExecStart"]
    socket = line.split("--socket ")[1].split()[0]
    assert socket.startswith("/run/starling/%i/")
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    assert f"--socket {socket.replace('%i', 'ann')}" in page
    volumes = {name: service["volumes"] for _, name, service in services()}
    assert "socket:/run/starling" in set(volumes["device"]) & set(volumes["relay"])
    assert not set(volumes["relay"]) & {"state:/var/lib/starling"}


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.parent.parent.name)
def test_an_image_holds_the_pinned_code_and_no_secret(file):
    image = Dockerfile(file)
    copied = [word for words in image.copied for word in words[:-1]]
    assert "constraints.txt" in copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not re.search(r"\.(key|pem|sqlite|jsonl)$|^\.|state|home", source)
    installs = re.findall(r"pip install ([^&]*)", " ".join(image.run))
    assert installs
    for words in installs:  # by constraints.txt, or a line of it
        assert "-c constraints.txt" in words or "constraints.txt)" in words
    names = set(re.findall(r"(\w+)=", " ".join(image.settings)))
    assert not {name for name in names if re.search("KEY|TOKEN|SECRET|PASS", name)}
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"
    assert {word.removeprefix("./") for word in copied} == {
        line[1:] for line in ignored if line.startswith("!")
    }


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@every_unit
def test_systemd_accepts_a_unit_and_its_sandbox(file, tmp_path):
    for each in UNITS:  # they name each other
        text = each.read_text().replace(PROGRAM, sys.executable)
        for name in {each.name, each.name.replace("@", "@ann")}:
            (tmp_path / name).write_text(text)
    one = tmp_path / file.name.replace("@", "@ann")
    done = analyze("verify", "--man=no", "--recursive-errors=no", one)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    most = EXPOSURE[file.name]
    done = analyze("security", "--offline=yes", f"--threshold={most}", tmp_path / file.name)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
    open_doors = tmp_path / "open.service"
    open_doors.write_text(f"[Service]\nExecStart={sys.executable}\nNoSuchThing=1\n")
    assert "NoSuchThing" in analyze("verify", "--man=no", open_doors).stderr
    assert analyze("security", "--offline=yes", f"--threshold={most}", open_doors).returncode


def analyze(*words):
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_request_in_hand_is_waited_for():
    """A device that is ended answers what it has on record first: longer than it takes."""
    (stop,) = unit(DEVICE / "starling-device@.service")["Service"]["TimeoutStopSec"]
    assert seconds(stop) > Limits().seconds
    (grace,) = [s["stop_grace_period"] for _, name, s in services() if name == "device"]
    assert seconds(grace) == seconds(stop)


def test_a_relay_runs_without_what_only_devices_and_servers_install():
    code = (
        "import apps, client.app, client.link, starling\n"
        "try:\n    starling.main(['client', 'relay', '--help'])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
    )
    heavy = ["torch", "transformers", "peft", "opacus", "scipy", "dp_accounting", "sympy"]
    done = subprocess.run(
        [sys.executable, "-c", hiding([*heavy, "matplotlib", "ray", "pandas"]) + code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
