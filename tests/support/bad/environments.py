"""What may be wrong around the command: disk, folders, home, processors, variables."""

import contextlib
import ctypes
import os
import resource
import subprocess

from tests.support.bad.lab import Case
from tests.support.command import Done, script


def _process(*words, stdout=subprocess.PIPE, **variables):
    """The command in a process of its own, for what concerns the whole process."""
    env = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    done = subprocess.run(
        [script(), *map(str, words)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=env,
        text=True,
        errors="replace",
        check=False,
    )
    return Done(done.returncode, done.stdout or "", done.stderr)


def full_output(lab):
    with open("/dev/full", "w") as full:  # noqa: PTH123 (a device)
        return _process("data", "ls", stdout=full)


def closed_pipe(lab):
    """As `| head -0`: the reader is gone before the first line."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        return _process("data", "ls", stdout=pipe)


def ascii_output(lab):
    folder = lab.log(items="a,Amélie\nb,Beta\nc,Gamma\nd,Delta\n")
    return _process("data", "inspect", folder, PYTHONIOENCODING="ascii")


def _stub(lab, name, content):
    """A folder for PYTHONPATH with a module in it that hides the real one."""
    folder = lab.folder / "stubs"
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(content)
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


def no_platformdirs(lab):
    lacking = "raise ModuleNotFoundError(\"No module named 'platformdirs'\", name='platformdirs')"
    return _process("data", "ls", PYTHONPATH=_stub(lab, "platformdirs", lacking))


def broken_platformdirs(lab):
    broken = "raise ImportError('numpy.core.multiarray failed to import')"
    return _process("data", "ls", PYTHONPATH=_stub(lab, "platformdirs", broken))


def another_server(lab):
    return _process("policy", "key", PYTHONPATH=_stub(lab, "server", "raise SystemExit('usage')"))


def a_package_that_ends(lab):
    return _process("data", "ls", PYTHONPATH=_stub(lab, "platformdirs", "raise SystemExit(0)"))


def another_signal(lab):
    return _process("data", "ls", PYTHONPATH=_stub(lab, "signal", "raise SystemExit(0)"))


def no_text_as_data(lab):
    folder = lab.log()
    return lab.simulate("--data", folder.rename(lab.folder / "caf\udce9"))


def hidden_gpu(lab):
    lab.patch.setattr("torch.cuda.is_available", lambda: False)
    return lab.simulate("--device", "cuda")


def windows(lab):
    lab.patch.setattr("sys.platform", "win32")
    return lab.run("data", "ls")


def full_disk_in_results(lab):
    """`/dev/full` takes the place of the new file: every write to it says that the disk is full."""
    run = lab.unfinished()
    (run / "results.json.part").symlink_to("/dev/full")
    return lab.resume(run)


@contextlib.contextmanager
def largest_file(size):
    """No file may grow beyond so many bytes, as on a full disk or over a quota."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def quota_at_start(lab):
    lab.may_exist |= {"out", "out/points", "out/adapters", "out/.lock"}  # a second try may use them
    with largest_file(100):
        return lab.simulate()


def quota_while_training(lab):
    run = lab.unfinished()
    (run / "points" / "eps-2-seed-0.checkpoint").unlink()
    with largest_file((run / "results.json").stat().st_size):
        return lab.resume(run)


_OVERRIDE = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: why root may write anywhere


@contextlib.contextmanager
def without_override():
    """Permissions count for root too, as they do for everybody else."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, twice
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] = before & ~_OVERRIDE
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = before
        assert libc.capset(header, sets) == 0


@contextlib.contextmanager
def read_only(*folders):
    for folder in folders:
        folder.chmod(0o555)
    try:
        with without_override():
            yield
    finally:
        for folder in folders:
            folder.chmod(0o755)


def read_only_out(lab):
    folder = lab.folder / "shelf"
    folder.mkdir()
    with read_only(folder):
        return lab.simulate("--out", folder / "out")


def read_only_run(lab):
    run = lab.unfinished()
    with read_only(run, run / "points", run / "adapters"):
        return lab.resume(run)


def unreadable_settings(lab):
    file = lab.file("own.toml")
    file.chmod(0)
    with without_override():
        return lab.simulate("--config", file)


def unreadable_log(lab):
    folder = lab.log()
    (folder / "interactions.csv").chmod(0)
    with without_override():
        return lab.simulate("--data", folder)


def _home(prepare):
    def act(lab):
        lab.patch.setenv("STARLING_HOME", str(prepare(lab)))
        return lab.simulate()

    return act


def file_as_home(lab):
    return lab.file("home")


def _key(content, mode=0o600):
    def prepare(lab):
        folder = lab.folder / "home" / "keys"
        folder.mkdir(parents=True)
        (folder / "ledger.pem").write_text(content)
        (folder / "ledger.pem").chmod(mode)
        return lab.folder / "home"

    return prepare


def user_home_is_a_file(lab):
    for name in ("STARLING_HOME", "XDG_CONFIG_HOME"):
        lab.patch.delenv(name, raising=False)
    lab.patch.setenv("HOME", str(lab.file("home")))
    return lab.simulate()


def nobody_home(lab):
    """As in a container that runs under a number without a name."""
    for name in ("STARLING_HOME", "XDG_CONFIG_HOME", "HOME"):
        lab.patch.delenv(name, raising=False)
    lab.patch.setattr("pwd.getpwuid", _unknown)
    return lab.simulate()


def _unknown(number):
    raise KeyError(f"getpwuid(): uid not found: {number}")


def cache_below_a_file(lab):
    lab.patch.setenv("STARLING_CACHE", str(lab.file("file") / "cache"))
    return lab.run("recommend", *_world(lab))


def _world(lab):
    adapter = lab.finished / "adapters" / "eps-2-seed-0.safetensors"
    return ("--data", "world", "--users", 40, "--adapter", adapter, "--user", "u1")


def one_processor(lab):
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        return lab.evaluate()
    finally:
        os.sched_setaffinity(0, before)


def _variable(name, value, *words):
    def act(lab):
        lab.patch.setenv(name, value)
        return lab.run(*words)

    return act


INSPECT = ("data", "inspect", "movielens-100k")
HOMES = {
    "STARLING_HOME is a file": file_as_home,
    "the signing key can be read by others": _key("", 0o644),
    "the signing key is no key": _key("not a key"),
}
ENVIRONMENTS = (
    Case("environment", "standard output is full (`> /dev/full`)", full_output),
    Case("environment", "standard output is closed (`| head -0`)", closed_pipe, 0),
    Case("environment", "a terminal that knows only ASCII", ascii_output, 0),
    Case("environment", "--device cuda, and no GPU is visible", hidden_gpu),
    Case("environment", "the disk is full when a run begins", quota_at_start),
    Case("environment", "the disk is full when results.json is written", full_disk_in_results),
    Case("environment", "the disk is full when a checkpoint is written", quota_while_training),
    Case("environment", "--out below a read-only folder", read_only_out),
    Case("environment", "--resume in a read-only folder", read_only_run),
    Case("environment", "--config that may not be read", unreadable_settings),
    Case("environment", "--data that may not be read", unreadable_log),
    *(Case("environment", name, _home(prepare)) for name, prepare in HOMES.items()),
    Case("environment", "HOME is a file", user_home_is_a_file),
    Case("environment", "no HOME, and the user has no entry in /etc/passwd", nobody_home),
    Case("environment", "STARLING_CACHE cannot be written (done without)", cache_below_a_file, 0),
    Case("environment", "a package is missing", no_platformdirs),
    Case("environment", "a package is broken", broken_platformdirs),
    Case("environment", "a package ends the program when it is imported", a_package_that_ends),
    Case("environment", "another `server` on PYTHONPATH ends the program", another_server),
    Case("environment", "another `signal` on PYTHONPATH ends the program", another_signal),
    Case("environment", "--data whose name is no UTF-8", no_text_as_data),
    Case("environment", "one processor", one_processor, 0),
    Case("environment", "Windows", windows),
    Case("environment", "STARLING_DATA=/none", _variable("STARLING_DATA", "/none", *INSPECT)),
    Case("environment", "STARLING_OFFLINE=yes", _variable("STARLING_OFFLINE", "yes", *INSPECT)),
)
