"""Starling: the `starling` command and, under `import starling`, the same as functions.

Each room's commands are mounted, and the functions imported, when they are asked for, not before.
Nothing but the standard library is imported until `main` runs, and no other module of a name of its
own: what goes wrong while the rest is imported, an interruption included, ends in one line too.
"""

from __future__ import annotations

import os
import sys


class _Hidden(ImportError):
    """Somebody else's module stands where one of ours, or of Python's own, is looked for."""


class _OnlyPythons:
    """Finds no module; refuses another one of a name of Python's own before any line of it runs."""

    _OWN = os.__file__.removesuffix("os.py")

    @classmethod
    def find_spec(cls, name: str, *_: object) -> None:
        """Called before other finders."""
        if name not in sys.stdlib_module_names or name == "distutils":  # setuptools has that one
            return
        found = next(filter(None, (at.find_spec(name, None) for at in cls._others())), None)
        place = (found.origin if found is not None and found.has_location else None) or cls._OWN
        real = os.path.realpath(place).startswith(os.path.realpath(cls._OWN) + os.sep)
        if not (real or place.startswith(cls._OWN) or f"{os.sep}lib-dynload{os.sep}" in place):
            raise _Hidden(
                f"{place}: hides Python's own module of that name; rename it, or take its folder "
                "off PYTHONPATH"
            )

    @classmethod
    def _others(cls) -> list[Any]:
        return [at for at in sys.meta_path if at is not cls]


sys.meta_path.insert(0, _OnlyPythons)
try:
    import contextlib
    import difflib
    import pkgutil
    import re
    import runpy
    import signal
    from collections.abc import Iterator
    from importlib.machinery import ModuleSpec
    from pathlib import Path
    from types import FrameType, ModuleType
    from typing import TYPE_CHECKING, Any
except _Hidden as _hidden:
    sys.stderr.write(f"error: {str(_hidden).encode('unicode_escape').decode()}\n")
    sys.exit(2)

if TYPE_CHECKING:
    from simulations.api.adapter import Adapter
    from simulations.api.experiment import simulate
    from simulations.api.offpolicy import value_policy
    from simulations.api.run import Run, load_run

__all__ = ["Adapter", "Run", "load_run", "main", "simulate", "value_policy"]

# Nothing here phones home: set before Flower, Ray or the hub can be imported.
for _name, _value in (
    ("FLWR_TELEMETRY_ENABLED", "0"),
    ("FLWR_DISABLE_UPDATE_CHECK", "1"),
    ("RAY_USAGE_STATS_ENABLED", "0"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("MLFLOW_DISABLE_TELEMETRY", "true"),
    ("WANDB_ERROR_REPORTING", "false"),
    ("OMP_WAIT_POLICY", "PASSIVE"),  # idle threads must not spin on a shared machine
):
    os.environ.setdefault(_name, _value)

# Each hands on `COMMANDS`, what it adds to this command line; in the order of a first walk through.
_HERE = Path(__file__).resolve().parent
ROOMS = ("server", "simulations", "client")
PACKAGES = ("apps", "shared", *ROOMS)
API = {
    "simulate": "experiment",
    "load_run": "run",
    "Run": "run",
    "Adapter": "adapter",
    "value_policy": "offpolicy",
}

SHELLS = ("bash", "zsh", "fish")
COMPLETE = "_STARLING_COMPLETE"  # set by the shell's script that asks for completions

# Whatever ends a program unless it listens, by hand or from a terminal, a system or a batch system
# (SIGKILL cannot be heard).
STOPS = {
    "SIGINT": "interrupted",
    "SIGTERM": "terminated",
    "SIGHUP": "hung up",
    "SIGQUIT": "quit",
    "SIGXCPU": "out of processor time",
    "SIGUSR1": "stopped (SIGUSR1)",
    "SIGUSR2": "stopped (SIGUSR2)",
}

# What a run stands on is there under POSIX alone: locks of ledgers (fcntl), limits (resource), who
# is at a socket (SO_PEERCRED), processes that end with their parent.
WINDOWS = (
    "error: Windows: Starling needs the file locks, sockets and limits of Linux; run it in WSL "
    "(wsl --install), or in the container of simulations/packaging/Dockerfile"
)

# Notes that an error may carry (PEP 678): how to go on from it.
NOTHING_YET, CONTINUE = "nothing was made yet", "continue: "


class _Stopped(KeyboardInterrupt):
    """A signal that asks a program to end: whoever sends it, it ends like Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.word, self.status = STOPS[signal.Signals(number).name], 128 + number


class _OnlyOurs:
    """Finds no module; refuses another one of a room's name before any line of it runs."""

    @classmethod
    def find_spec(cls, name: str, *_: object) -> ModuleSpec | None:
        """Called before other finders."""
        if name not in PACKAGES:
            return None
        others = (at.find_spec(name, None) for at in sys.meta_path if at is not cls)
        found = next(filter(None, others), None)
        if found is not None:
            cls._refuse(found)
        return None

    @classmethod
    def watch(cls) -> None:
        """Refuse them from now on, and those that are there already."""
        if cls not in sys.meta_path:
            sys.meta_path.insert(0, cls)
        for name in PACKAGES:
            if (spec := getattr(sys.modules.get(name), "__spec__", None)) is not None:
                cls._refuse(spec)

    @staticmethod
    def _refuse(found: ModuleSpec) -> None:
        if _HERE not in Path(found.origin or "").resolve().parents:
            folders = list(found.submodule_search_locations or [])
            place = found.origin or next(iter(folders), "")
            raise _Hidden(f"{place}: another package of that name hides ours; see starling doctor")


def __getattr__(name: str) -> Any:
    """What `__all__` names, imported when it is first asked for."""
    if name not in API:
        raise AttributeError(f"module 'starling' has no attribute {name!r}{_meant(name)}")
    _OnlyOurs.watch()
    for package in PACKAGES:  # now, not in the middle of a run
        _OnlyOurs.find_spec(package)
    globals()[name] = found = pkgutil.resolve_name(f"simulations.api.{API[name]}:{name}")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name, __all__, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def main(arguments: list[str] | None = None) -> None:
    """Run the command; errors become one line and an exit code."""
    if sys.platform == "win32":
        sys.exit(_tell(WINDOWS, 2))
    heard: list[BaseException] = []
    if arguments is None:
        arguments = sys.argv[1:]
        _listen(heard)
        _tolerate(sys.stdout)
        _tolerate(sys.stderr)
    sys.exit(_run(list(arguments), heard))


def _listen(heard: list[BaseException]) -> None:
    """Raise interruptions, and remember them.

    In the middle of a C extension's import one surfaces as a failed import, of any kind.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)  # a terminal that closes, then its shell sends it
        heard.append(_Stopped(number))
        raise heard[-1]

    for number in (signal.Signals[name] for name in STOPS):
        # Not where it is ignored, as by nohup or in the background.
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)


def _tolerate(stream: Any) -> None:
    """A letter that the terminal's encoding lacks is shown as a question mark."""
    if stream is not None:  # closed by whoever started us
        stream.reconfigure(errors="replace")


def _run(arguments: list[str], heard: list[BaseException]) -> int:
    debug = "--debug" in arguments  # wherever it stands
    words = [word for word in arguments if word != "--debug"]
    try:
        if COMPLETE in os.environ:
            return _complete(os.environ[COMPLETE])
        status = _doctor().main(words[1:]) if words[:1] == ["doctor"] else _dispatch(words)
        if sys.stdout is not None:
            sys.stdout.flush()
        return status
    except BrokenPipeError:
        return _drop_output(0)  # the reader, such as `head`, has seen enough
    except BaseException as error:  # packages in other languages raise more than exceptions
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
            return _drop_output(0)  # as rich ends it
        if heard or isinstance(error, KeyboardInterrupt):
            return _stopped(heard[-1] if heard else error, error)
        return _explain(error, debug=debug)


def _stopped(by: BaseException, error: BaseException) -> int:
    by = by if isinstance(by, _Stopped) else _Stopped(signal.SIGINT)
    return _tell(f"{by.word}{_noted(error, CONTINUE, NOTHING_YET)}", by.status)


def _noted(error: BaseException, *kinds: str) -> str:
    """What whoever was at work says of going on, to follow a sentence; empty if nothing."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(kinds)]
    return f"; {notes[0]}" if notes else ""


@contextlib.contextmanager
def _before_it_begins() -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        error.add_note(NOTHING_YET)
        raise


def _dispatch(arguments: list[str]) -> int:
    _OnlyOurs.watch()
    with _before_it_begins():
        cli = command_line()
    with cli.make_context("starling", arguments) as context:
        status = cli.invoke(context)
    return status if isinstance(status, int) else 0


def _complete(instruction: str) -> int:
    """Answer a shell that asks how a word may go on: no command runs, and no model is loaded."""
    from typer import _completion_classes, completion

    _completion_classes.completion_init()
    return completion.shell_complete(command_line(), {}, "starling", COMPLETE, instruction)


def command_line() -> Any:
    """The click group of all commands; a room's code is imported when its command runs."""
    import click
    from click.shell_completion import CompletionItem

    # Read where they stand: another package of a room's name hides the room, not its commands.
    tables = [runpy.run_path(str(_HERE / room / "__init__.py"))["COMMANDS"] for room in ROOMS]
    table: dict[str, tuple[str, str]] = {k: v for room in tables for k, v in room.items()}

    class Rooms(click.Group):
        """A group whose commands live in the rooms: those whose names begin with its own."""

        def table(self) -> dict[str, tuple[str, str]]:
            """Below this group, by their own names."""
            mine = f"{self.name} " if self.name else ""
            return {
                name.removeprefix(mine): row
                for name, row in table.items()
                if name.startswith(mine) and " " not in name.removeprefix(mine)
            }

        def list_commands(self, ctx: click.Context) -> list[str]:
            """Names in the order of a first walk through."""
            return list(self.table())

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            """Import the module of a command; a group has none."""
            if cmd_name not in self.table():
                return None
            where, text = self.table()[cmd_name]
            with _before_it_begins():
                if where.endswith("doctor:main"):
                    flag = click.Option(["--json"], is_flag=True, help="One JSON document.")
                    return click.Command(cmd_name, help=text, params=[flag])  # for completions
                return _loaded(where, cmd_name) if where else Rooms(cmd_name, help=text)

        def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
            """Names of commands, from the table alone; options."""
            found = [(name, text) for name, (_, text) in self.table().items()]
            commands = [CompletionItem(n, help=t) for n, t in found if n.startswith(incomplete)]
            return commands + click.Command.shell_complete(self, ctx, incomplete)

        def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
            """List commands without importing their rooms."""
            with formatter.section("Commands"):
                formatter.write_dl([(name, text) for name, (_, text) in self.table().items()])

    @click.group(cls=Rooms, name="", context_settings={"help_option_names": ["-h", "--help"]})
    @click.option("--debug", is_flag=True, help="Show a traceback with an error.")
    @click.version_option(package_name="starling")
    def cli(debug: bool) -> None:
        """Federated, privacy-preserving recommendation with a frozen language model."""

    for name, does in (("install", "Install completion for"), ("show", "Print completion for")):
        option = click.Option(
            [f"--{name}-completion"],
            is_flag=False,
            flag_value="",
            metavar="[SHELL]",
            is_eager=True,
            expose_value=False,
            callback=_completion,
            help=f"{does} bash, zsh or fish; by default the one that runs.",
        )
        cli.params.append(option)
    return cli


def _completion(context: Any, option: Any, shell: str | None) -> None:
    """Typer's script for a shell, printed or written where the shell reads it."""
    if shell is None or context.resilient_parsing:
        return
    import click
    from typer import _completion_shared as completion

    shell = shell or completion._get_shell_name() or "unknown"
    if shell not in SHELLS:
        raise click.UsageError(f"shell {shell}: name one of {', '.join(SHELLS)}", context)
    if option.name == "show_completion":
        named = {"prog_name": "starling", "complete_var": COMPLETE}
        click.echo(completion.get_completion_script(shell=shell, **named))
    else:
        try:
            _, file = completion.install(shell, "starling", COMPLETE)
        except UnicodeEncodeError:  # typer writes the path into a file of UTF-8
            told = f"{Path.home()}: no UTF-8 text; put there what --show-completion prints"
            raise click.UsageError(told, context) from None
        click.echo(f"completion for {shell}: {_printable(file)}; it works in the next shell")
    context.exit()


def _loaded(where: str, name: str) -> Any:
    """The command that stands at `module:name`: a function, or a group of its own."""
    import typer

    found: Any = pkgutil.resolve_name(where)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(add_completion=False)
        found.command(name)(function)
    return _once(typer.main.get_command(found))


def _once(command: Any) -> Any:
    """Refuse an option that is given twice: of its values the last alone would count."""
    import click

    def parse_args(context: Any, words: list[str], parse: Any = command.parse_args) -> Any:
        given = command.make_parser(context).parse_args(list(words))[2]
        for option in [] if context.resilient_parsing else given:
            if given.count(option) > 1 and not getattr(option, "is_flag", True):
                told = f"{option.opts[0]} is given twice; give it once, a list with commas"
                raise click.UsageError(told, context)
        return parse(context, words)

    for each in getattr(command, "commands", {}).values():
        _once(each)
    command.parse_args = parse_args
    return command


def _doctor() -> ModuleType:
    """The doctor, from the folder beside this file: it must run where nothing else can."""
    import importlib.util

    folder = _HERE / "simulations" / "doctor"
    spec = importlib.util.spec_from_file_location(
        "starling_doctor", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"no doctor in {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["starling_doctor"] = module
    spec.loader.exec_module(module)
    return module


def _explain(error: BaseException, debug: bool) -> int:
    """One line for what was raised, by kind."""
    if debug:
        import traceback

        traceback.print_exc()
    if isinstance(error, _Hidden):
        return _tell(f"error: {error}", 2)
    if isinstance(error, SystemExit):  # nothing of ours ends this way
        return _tell(f"error: {_ended(error)}; starling doctor says what is wrong", 2)
    if isinstance(error, ModuleNotFoundError):
        return _tell(_missing(error), 2)
    if isinstance(error, ImportError):
        return _tell(f"error: {error}; starling doctor says what is wrong", 2)
    if isinstance(error, OSError) and error.strerror:
        if error.filename is None:  # no file: what was printed could not be written
            return _drop_output(_tell(f"error: standard output: {error.strerror}", 2))
        return _tell(f"error: {error.filename}: {error.strerror}{_noted(error, CONTINUE)}", 2)
    import click

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        return _tell(f"error: {_usage(error)}{_where(error)}", error.exit_code)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    from shared.errors import StarlingError

    if isinstance(error, StarlingError):
        return _tell(f"error: {error}{_noted(error, CONTINUE)}", error.exit_code)
    if "home directory" in str(error):  # platformdirs: a user without a name or a HOME
        return _tell("error: no home folder; set HOME, or STARLING_HOME and STARLING_CACHE", 2)
    if _is_out_of_memory(error):
        go_on = _noted(error, CONTINUE)  # with the settings that it was begun with
        less = "give fewer --users or a smaller --micro-batch"
        less = f"free some{go_on}; or start anew with a smaller --micro-batch" if go_on else less
        return _tell(f"error: not enough memory; {less}", 2)
    told = f"{type(error).__name__}: {error} (unexpected; --debug shows where)"
    return _tell(f"error: {told}{_noted(error, CONTINUE)}", 1)


def _ended(stop: SystemExit) -> str:
    """Which file ended the program, and with what."""
    import traceback

    frames = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(stop.__traceback__)]
    return f"{frames[-1]}: ended the program ({stop.code!r}), and there is no result"


def _missing(error: ModuleNotFoundError) -> str:
    if (error.name or "").partition(".")[0] in PACKAGES:
        return f"error: {error}: another package of that name hides ours; see starling doctor"
    return f"error: {error}; install it (make setup, in the checkout), or see starling doctor"


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or bool(re.search("(out of|allocate) memory", str(error)))


def _usage(error: Any) -> str:
    """What was typed wrong, and what is nearest to it of all that could stand there."""
    from click.exceptions import NoSuchOption

    words, context = str(error.format_message()), error.ctx
    try:
        from shared.errors import nearest, nearest_of
    except ImportError:  # hidden by another package: the doctor tells
        return words
    if context is None:
        return words
    if isinstance(error, NoSuchOption):
        unknown = error.option_name
        flags = [each for option in context.command.get_params(context) for each in option.opts]
        # Without the dashes, which all of them share.
        bare = {each.removeprefix("--"): each for each in flags if each.startswith("--")}
        near = nearest(unknown.lstrip("-"), bare).replace("mean ", "mean --")
        return f"No such option: {unknown}{near}"
    if found := re.match(r"No such command '(.*?)'\.", words):
        near = nearest(found[1], context.command.list_commands(context))
        return f"No such command: {found[1]}{near}"
    if found := re.search(r"'([^']*)' is not one of (.*)", words):
        return words.rstrip(".") + nearest_of(found[2], found[1])
    return words


def _where(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context else ""


def _tell(line: str, status: int) -> int:
    with contextlib.suppress(OSError, AttributeError, ValueError):  # standard error may be closed
        sys.stderr.write(_printable(" ".join(line.split())) + "\n")
        sys.stderr.flush()
    return status


def _printable(text: object) -> str:
    """See `shared.printable`, read where it stands: our packages may not be found."""
    return str(runpy.run_path(str(_HERE / "shared" / "printable.py"))["printable"](text))


def _drop_output(status: int) -> int:
    """What is still buffered goes nowhere: writing it at exit would fail once more."""
    with contextlib.suppress(OSError, AttributeError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return status


if __name__ == "__main__":
    main()
