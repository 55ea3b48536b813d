"""Another module under a name of ours, or one that ends the program: never 0 without a result."""

import os
import subprocess
import sys
from importlib.machinery import FrozenImporter

import pytest

import starling
from tests.support import ROOT
from tests.support.command import command

ENDS = {
    "nothing": "",
    "writes": "import sys\nsys.stderr.write('theirs ran')\n",
    "ends with words": "import sys\nsys.exit('usage: server ADDRESS')\n",
    "ends with 0": "import sys\nsys.exit(0)\n",
    "ends": "import os\nos._exit(0)\n",
    "raises": "raise RuntimeError('theirs')\n",
    "raises what is no exception": "raise KeyboardInterrupt\n",
    "is no Python": "print 'hello'\n",
}


def start(folder, *words):
    """A command in a process of its own, in a folder that stands first on its path."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "starling", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(params=["server", "client"])
def shadowed(request, tmp_path):
    (tmp_path / f"{request.param}.py").write_text(ENDS["writes"])
    return lambda *words: start(tmp_path, *words)


def test_what_needs_no_other_room_works_and_runs_nothing_of_theirs(shadowed):
    for words in (["--help"], ["policy", "--help"], ["data", "ls", "--json"]):
        done = shadowed(*words)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_what_needs_it_says_what_hides_it(shadowed, tmp_path):
    done = shadowed("simulate", "--users", "60", "--out", "run")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()  # not a line of theirs was run
    assert "another package of that name hides ours; see starling doctor" in line
    assert str(tmp_path) in line
    assert not (tmp_path / "run").exists()


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    """A module of a room's name, found before ours by an import in this process."""

    def put(room, content, folder):
        place = tmp_path / room
        if folder:
            place.mkdir()
        file = place / "__init__.py" if folder else tmp_path / f"{room}.py"
        file.write_text(content)
        ours = {name: module for name, module in sys.modules.items() if _of(name, room)}
        for name in ours:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(str(tmp_path))
        return file

    return put


def _of(name, room):
    return name == room or name.startswith(f"{room}.")


@pytest.mark.parametrize("content", ENDS.values(), ids=list(ENDS))
@pytest.mark.parametrize(
    ("room", "words"),
    [
        ("server", ("policy", "key")),
        ("client", ("policy", "spent", ".")),
        ("simulations", ("data", "ls")),
    ],
)
def test_nothing_of_theirs_runs_whatever_it_would_do(room, words, content, hidden):
    for folder in (False, True):
        file = hidden(room, content, folder)
        done = command(*words)
        assert done.code == 2
        assert done.error.startswith(f"error: {file}: another package of that name hides ours")


def test_a_folder_without_init_hides_nothing(hidden, tmp_path):
    (tmp_path / "server").mkdir()
    sys.path.insert(0, str(tmp_path))
    try:
        assert command("policy", "key").code == 0
    finally:
        sys.path.remove(str(tmp_path))


@pytest.mark.parametrize("ends", ["ends with 0", "ends", "writes", "nothing"])
@pytest.mark.parametrize("name", ["signal", "json"])  # before and after `main` begins
def test_what_hides_a_module_of_python_s_own_is_refused(name, ends, tmp_path):
    (tmp_path / f"{name}.py").write_text(ENDS[ends])
    done = start(tmp_path, "data", "ls")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / name}.py: hides Python's own module of that name")


# What Python has in itself no file hides; setuptools stands in for distutils.
STANDARD = sorted(
    name
    for name in sys.stdlib_module_names - {"distutils", *sys.builtin_module_names}
    if FrozenImporter.find_spec(name) is None
)


def test_every_name_of_python_s_own_is_its_own(tmp_path, monkeypatch):
    guard = starling._OnlyPythons
    for name in STANDARD:
        guard.find_spec(name)  # Python's own is found, wherever it is installed
        (tmp_path / f"{name}.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in STANDARD:
        with pytest.raises(ImportError, match="hides Python's own"):
            guard.find_spec(name)
    for name in ("distutils", "sys", "json.decoder", "numpy"):
        guard.find_spec(name)


@pytest.mark.parametrize("with_", ["words", 0, 1, 130, None])
def test_no_end_that_is_not_ours_is_success(with_, monkeypatch, capsys):
    """As a package does that is a program: it calls sys.exit when it is imported."""

    def end(arguments):
        raise SystemExit(with_)

    monkeypatch.setattr(starling, "_dispatch", end)
    assert starling._run(["data", "ls"], []) == 2
    told = capsys.readouterr().err
    assert f"ended the program ({with_!r}), and there is no result" in told
    assert __file__ in told  # which file


def test_packages_in_other_languages_raise_what_is_no_exception(monkeypatch, capsys):
    class Panic(BaseException):
        pass

    def end(arguments):
        raise Panic("a lock was poisoned")

    monkeypatch.setattr(starling, "_dispatch", end)
    assert starling._run(["data", "ls"], []) == 1
    assert "Panic: a lock was poisoned (unexpected" in capsys.readouterr().err


@pytest.mark.parametrize("room", ["shared", "server"])
@pytest.mark.parametrize("first", ["", "import {room}; "], ids=["unseen", "imported before"])
def test_from_python_too_what_hides_ours_is_named(room, first, tmp_path):
    (tmp_path / f"{room}.py").write_text("")
    code = f"{first.format(room=room)}from starling import simulate"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    told = f"{tmp_path / room}.py: another package of that name hides ours; see starling doctor"
    assert done.stderr.splitlines()[-1].endswith(told)
