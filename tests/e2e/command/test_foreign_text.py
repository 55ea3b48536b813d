"""Names, paths and texts of somebody else's: shown letter by letter wherever they are printed.

Every name holds what one of those who print might obey: rich's markup and emoji codes, formulas,
format strings, HTML, quotes, a terminal's control characters, marks that turn the direction.
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest
import rich.console
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import check_plain
from shared.config import ExperimentConfig, dump_toml, from_dict, to_dict
from shared.printable import printable, shell_word
from tests.support import ROOT
from tests.support.bad.lab import ADAPTER
from tests.support.command import command

NAMES = {
    "markup": "[red]a[/old] :smile: [link=x]b[bold][/]",
    "formulas and formats": r"$x_{1}$ \alpha %s %(a)s {0} {name!r} ${HOME} $(id)",
    "HTML and quotes": "<b>&amp; <script>alert(1)< 'it's' \"q\" `id`",
    "control": "\x1b[2J\x1b]0;title\x07 \x85 \u202eabc\u200f \x7f",
    "lines": "a\nb\rc\td",
    "a dash": "--help",
    "letters that a font lacks": "数据 \u0915 \U0001f600",
    "a byte that is no UTF-8": "caf\udce9",
}
SMALL = (
    *("--rounds", 1, "--seeds", 0, "--cohort", 1, "--epsilon", "inf", "--delta", 0.01),
    *("--references", "popularity", "--layers", 1, "--quiet"),
)
OBEYED = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\ud800-\udfff]")
every_name = pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))


def write_log(folder, name):
    """Six people and six items, all of them called by the name, and so is the folder."""
    folder.mkdir(parents=True)
    word = name.encode("utf-8", "replace").decode().replace("\r", "")
    rows = [
        (f"u{user}{word}", f"i{(user + step) % 12}", 1000 * step + user)
        for user in range(6)
        for step in range(6)
    ]
    with (folder / "interactions.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("user", "item", "timestamp"), *rows])
    with (folder / "items.csv").open("w", newline="", encoding="utf-8") as stream:
        items = [(f"i{item}", f"{word} {item}") for item in range(12)]
        csv.writer(stream).writerows([("item", "text"), *items])
    return folder, f"u0{word}"


def told(done, *names):
    """What was printed, unwrapped, after looking whether a terminal would obey any of it."""
    for text in (done.out, done.err):
        assert not OBEYED.search(text), repr(OBEYED.search(text))
        assert "Traceback" not in text
        assert "Error: " not in text
    said = re.sub(r"\s+", " ", done.out + done.err)
    for name in names:
        assert re.sub(r"\s+", " ", printable(name)) in said
    return said


@every_name
def test_no_place_that_prints_obeys_it(name, tiny_bert, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.chdir(tmp_path)
    folder, user = write_log(tmp_path / "log" / name, name)
    data, run = str(folder), tmp_path / "run"
    begun = command("simulate", "--data", data, "--backbone", tiny_bert, *SMALL, "--out", run)
    if not _writable(name):
        assert begun.code == 2
        assert printable(name) in begun.error
        assert not run.exists()
        return
    assert begun.code == 0, begun.err
    told(begun, name)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert not OBEYED.search(page)
    assert "<script>alert" not in page
    adapter = run / "adapters" / "eps-inf-seed-0.safetensors"
    use = ("--data", data, "--adapter", adapter)
    told(command("evaluate", *use), name)
    told(command("recommend", *use, "--user", user, "--explain", "-k", 3), name)
    told(command("recommend", *use, "--user", f"no {name}"))
    told(command("data", "inspect", data), name)
    told(command("verify", run))
    told(command("simulate", "--resume", run), name)
    assert json.loads(command("data", "inspect", data, "--json").out)["name"].endswith(name)


@every_name
def test_any_folder_and_file_may_be_called_so(name, tiny_bert, tmp_path, monkeypatch):
    """The run's, the settings', keys and caches: it works, or is refused in words."""
    log, _ = write_log(tmp_path / "log", "x")
    for variable in ("STARLING_HOME", "STARLING_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path / "of mine" / name / variable))
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / f"{name}.toml"
    settings.parent.mkdir(parents=True, exist_ok=True)  # some hold a slash
    settings.write_text(f"[data]\nspec = {json.dumps(str(log))}\n")
    monkeypatch.setenv("COLUMNS", "400")
    done = command(
        "simulate", "--config", settings, "--backbone", tiny_bert, *SMALL, f"--out={name}"
    )
    assert done.code == 0, done.err
    told(done)
    check = next(line for line in done.out.splitlines() if line.startswith("Check it: "))
    words = check.removeprefix("Check it: starling verify ")
    typed = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert (tmp_path / os.fsdecode(typed.stdout) / "results.json").is_file()
    assert command("verify", os.fsdecode(typed.stdout)).code == 0
    again = command("simulate", "--config", settings, f"--out={name}")
    assert again.code == 2
    told(again)


@pytest.mark.parametrize("kind", ["control", "a byte that is no UTF-8"])
def test_no_command_obeys_the_path_it_is_given(kind, run, tmp_path, monkeypatch):
    """What reads, makes or looks for a file below a folder of that name."""
    name = NAMES[kind].replace("/", "")
    own = tmp_path / name
    own.mkdir()
    monkeypatch.setenv("COLUMNS", "400")
    for variable in ("HOME", "STARLING_HOME", "STARLING_CACHE", "XDG_CACHE_HOME", "SHELL"):
        monkeypatch.setenv(variable, str(own / variable))
    monkeypatch.delenv("STARLING_DATA", raising=False)
    copy = shutil.copytree(run, own / "run")
    policy, adapter = (copy / at for at in ("points/eps-2-seed-0.policy.json", ADAPTER))
    log, _ = write_log(own / "log", "x")
    rows = (log / "interactions.csv").read_text().replace("u0x,", "u0x\u200b,")
    (log / "interactions.csv").write_text(rows)
    operator = command("policy", "key").out.strip()
    (own / "key").write_text(operator)
    (own / "state").mkdir()
    shutil.copy(policy, own / "state" / "agreement.json")
    (own / "caps.toml").write_text("")
    world = ("--data", "world", "--users", 40)
    make = ("policy", "make", "--config", copy / "config.toml", "--epsilon", 2, "--users", 40)
    make += ("--adapter", adapter)
    for code, words in (
        (0, ("data", "inspect", log)),
        (0, ("data", "world", "--users", 5, "--out", own / "world")),
        (2, ("data", "fetch", "movielens-1m")),
        (0, ("data", "ls")),
        (None, ("data", "inspect", "movielens-100k")),  # 0 where it lies beside the checkout
        (None, ("verify", copy, "--key", own / "key")),
        (2, ("verify", copy, "--key", own / "none")),
        (0, ("evaluate", "--adapter", adapter, *world)),
        (0, ("recommend", "--adapter", adapter, *world, "--user", "u1")),
        (0, ("policy", "show", policy)),
        (0, ("policy", "show", adapter)),
        (0, ("policy", "spent", own / "state")),
        (2, ("policy", "spent", own / "none")),
        (None, ("policy", "check", policy, "--operator", operator, "--caps", own / "caps.toml")),
        (None, ("policy", "check", policy, "--operator", operator, "--state", own / "state")),
        (0, (*make, "--out", own / "new.json")),
        (2, ("simulate", "--resume", own / "none")),
        (None, ("--install-completion", "bash")),
    ):
        done = command(*words)
        told(done)
        assert code is None or done.code == code, (words, done.err)


@pytest.mark.parametrize("kind", ["markup", "control", "a byte that is no UTF-8"])
def test_a_setting_that_cannot_be_written_is_refused_before_anything_is(kind, tiny_bert, tmp_path):
    name = NAMES[kind]
    backbone = shutil.copytree(tiny_bert, tmp_path / f"b{name}")
    run = tmp_path / "run"
    done = command(
        "simulate", "--data", "world", "--users", 30, "--backbone", backbone, *SMALL, "--out", run
    )
    told(done)
    assert (done.code, run.exists()) == ((0, True) if _writable(name) else (2, False)), done.err


@every_name
def test_errors_name_it_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (
        ("simulate", f"--data=no {name}"),
        ("simulate", f"--config=no {name}"),
        ("simulate", f"--preset=no {name}"),
        ("simulate", f"--aggregation=no {name}"),
        ("simulate", f"--resume=no {name}"),
        ("simulate", f"--references=no {name}"),
        ("verify", f"no {name}"),
        ("data", "inspect", f"no {name}"),
        ("data", "fetch", f"no {name}"),
        ("policy", "show", f"no {name}"),
        ("policy", "spent", f"no {name}"),
        (f"no {name}",),
        ("doctor", f"no {name}"),
    ):
        done = command(*words)
        assert done.code == 2, words
        told(done)
        assert len(done.err.splitlines()) == 1


def _writable(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@given(st.text(st.characters(codec=None), min_size=1, max_size=30))
def test_settings_are_read_back_as_they_were_written_or_refused(text):
    tree = to_dict(ExperimentConfig())
    tree["data"]["spec"] = tree["model"]["backbone"] = text
    if not _writable(text):
        with pytest.raises(ValueError, match="no UTF-8 text"):
            from_dict(tree)
        return
    config = from_dict(tree)
    assert from_dict(tomllib.loads(dump_toml(config).encode().decode())) == config
    assert tomllib.loads(tomli_w.dumps({text: text})) == {text: text}


@given(st.text(st.characters(codec=None, exclude_characters="\0"), min_size=1, max_size=12))
def test_what_is_shown_is_one_printable_line(text):
    shown = printable(text)
    assert shown.isprintable()
    assert shown.encode()
    assert shell_word(text).isprintable()
    if text.isprintable() and not text.startswith("-"):
        assert shlex.split(shell_word(text)) == [text]
        assert shown == text


def test_no_other_console_prints():
    """Everything that rich prints goes through the one console that reads nothing into it."""
    found = {
        str(path.relative_to(ROOT))
        for package in ("client", "server", "shared", "simulations")
        for path in (ROOT / package).rglob("*.py")
        if re.search(
            r"from rich\.console import|import rich\b|from rich import|rich\.markup",
            path.read_text(encoding="utf-8"),
        )
    }
    # `show` takes from rich how a table is drawn, and prints on the one console.
    assert found == {"simulations/console.py", "simulations/show.py"}
    assert rich.console.Console in __import__("simulations.console").console.Console.__mro__


@pytest.mark.parametrize("tree", ["\ud800", {"\udce9": 1}, ["a", {"b": "\udfff"}]])
def test_half_a_letter_is_no_text(tree):
    with pytest.raises(ValueError, match="no UTF-8"):
        check_plain(tree)
