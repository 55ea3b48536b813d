"""`starling client recommend | why | feedback | budget | page`, as a person types them."""

import json
import re
import signal
import subprocess
import sys

import httpx
import pytest

from client.store import Interaction
from tests.support import ROOT
from tests.support.command import command
from tests.support.running.released import FILMS, begun, person


@pytest.fixture
def state(tmp_path, tiny_bert):
    who = person(tmp_path, tiny_bert)
    who.folder.store.add([Interaction("orbit", 1), Interaction("comet", 2)])
    return who.folder.path


def test_a_walk(state):
    done = command("client", "recommend", "--state", state, "-k", "3")
    assert done.code == 0, done.err
    first, *rows = done.out.splitlines()
    assert first.startswith("Release 1, issued ")
    assert len(rows) == 3
    item = rows[0].split(":")[0]
    assert item in FILMS
    told = json.loads(command("client", "recommend", "--state", state, "-k", "3", "--json").out)
    assert [one["item"] for one in told["recommendations"]] == [row.split(":")[0] for row in rows]

    lines = command("client", "why", item, "--state", state).out.splitlines()
    parts = [float(line.split()[0]) for line in lines[1:]]
    assert parts[-1] == pytest.approx(sum(parts[:-1]), abs=0.01)
    told = json.loads(command("client", "why", item, "--state", state, "--json").out)
    assert told["score"] == pytest.approx(parts[-1], abs=1e-3)

    assert told["because"] == {
        "text": lines[0].split(": ", 1)[1].removesuffix(" (the template's)"),
        "by": "template",
        "refused": [],
    }

    asked = command("client", "recommend", "--state", state, "-k", "1", "--ask", "comedy, xyzzy")
    assert asked.out.splitlines()[1:3] == ["Understood: comedy.", "Not understood: xyzzy."]
    assert "Comedy" in FILMS[(best := asked.out.splitlines()[3]).split(":")[0]]
    assert "as you asked (comedy)" in best
    told_asked = json.loads(
        command("client", "recommend", "--state", state, "--ask", "comedy", "--json").out
    )
    assert told_asked["asked"]["understood"][0]["meaning"] == "comedy"
    assert told_asked["recommendations"][0]["asked"] > 0

    taste = command("client", "profile", "--state", state)
    assert taste.out.startswith("You chose 2 titles. The most frequent kinds are sci-fi (2).")
    assert json.loads(command("client", "profile", "--state", state, "--json").out)["by"] == (
        "template"
    )
    absent = command("client", "profile", "--state", state, "--writer", "nowhere")
    assert (absent.code, absent.err.count("\n")) == (2, 1)

    said = command("client", "feedback", item, "--state", state, "--dislike")
    assert said.out == f"{item}: {told['title']}: is not shown again\n"
    assert item not in command("client", "recommend", "--state", state, "-k", "100").out.split(":")
    assert command("client", "feedback", item, "--state", state, "--undo", "--json").code == 0
    again = command("client", "recommend", "--state", state, "-k", "3")
    assert again.out == done.out
    assert "counts as chosen" in command("client", "feedback", item, "--state", state, "--like").out

    spent = command("client", "budget", "--state", state)
    assert "nothing is spent" in spent.out
    assert "Of the ε = 8 that you allow" in spent.out
    assert "Nothing that was made from your choices has left this device." in spent.out
    told = json.loads(command("client", "budget", "--state", state, "--json").out)
    assert told["budgets"] == []
    assert told["leaves"]["messages"] == 0
    fields = {row["name"] for part in told["leaves"]["replies"] for row in part["rows"]}
    assert {"update.vector", "config.letter", "config.declined"} <= fields


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("why", "nothing"), "item 'nothing' is not among the 18 items"),
        (("feedback", "../x", "--like"), "item '../x' is not among the 18 items"),
        (("feedback", "orbit"), "give one of --like, --dislike and --undo"),
        (("feedback", "orbit", "--like", "--undo"), "give one of --like, --dislike and --undo"),
        (("page", "--port", "99999"), "99999 is not in the range"),
    ],
    ids=lambda words: " ".join(words),
)
def test_what_is_wrong_is_one_line(words, told, state):
    done = command("client", *words, "--state", state)
    assert done.code == 2
    assert told in done.error


@pytest.mark.parametrize("name", ["recommend", "budget", "page"])
def test_a_folder_without_a_device_is_refused(name, tmp_path):
    done = command("client", name, "--state", tmp_path)
    assert done.code == 2
    assert "no device is here" in done.error
    assert list(tmp_path.iterdir()) == []


def test_without_a_release_and_without_the_model_it_says_so(tmp_path, monkeypatch):
    from shared.errors import ModelError

    def absent(*_):
        raise ModelError("model.backbone = minilm: not installed")

    monkeypatch.setattr("client.serving.adapters.find", absent)
    state = begun(tmp_path / "state").path
    done = command("client", "recommend", "--state", state)
    assert (done.code, done.error) == (2, "error: model.backbone = minilm: not installed")
    assert "nothing is spent" in command("client", "budget", "--state", state).out


def test_the_page_is_a_process_that_ends_when_it_is_told(state):
    words = [sys.executable, ROOT / "starling.py", "client", "page", "--state", state]
    served = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        link = re.fullmatch(
            r"open (http://127\.0\.0\.1:\d+/login\?code=\S+)\n", served.stdout.readline()
        )
        api = served.stdout.readline().split()[1]
        with httpx.Client(trust_env=False, timeout=60) as client:
            assert "For you" in client.get(link[1], follow_redirects=True).text
            token = (state / "page-token").read_text().strip()
            client.cookies.clear()
            assert client.get(f"{api}budget").status_code == 401
            head = {"Authorization": f"Bearer {token}"}
            assert client.get(f"{api}budget", headers=head).json()["budgets"] == []
        port = link[1].split(":")[2].split("/")[0]
        taken = command("client", "page", "--state", state, "--port", port)
        assert (taken.code, taken.error) == (
            2,
            f"error: --port {port}: Address already in use; give another, or 0",
        )
    finally:
        served.send_signal(signal.SIGTERM)
        out, err = served.communicate()
    assert (served.returncode, out, err) == (0, "", "")
