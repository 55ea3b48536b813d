"""The `starling` command: mounts each room's commands when they are asked for, not before."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import click

# Nothing here phones home: set before Flower, Ray or the hub can be imported.
for _name, _value in (
    ("FLWR_TELEMETRY_ENABLED", "0"),
    ("FLWR_DISABLE_UPDATE_CHECK", "1"),
    ("RAY_USAGE_STATS_ENABLED", "0"),
    ("HF_HUB_DISABLE_TELEMETRY", "1"),
    ("OMP_WAIT_POLICY", "PASSIVE"),  # idle threads must not spin on a shared machine
):
    os.environ.setdefault(_name, _value)

# name -> (module that defines it, one line of help)
COMMANDS = {
    "simulate": ("simulations.cli", "Draw accuracy against privacy budget over virtual clients."),
    "verify": ("simulations.cli", "Recompute every epsilon of a run from its ledgers."),
    "data": ("simulations.cli", "List, inspect, fetch and make interaction logs."),
    "evaluate": ("simulations.cli", "Rank held-out items with a trained adapter."),
    "recommend": ("simulations.cli", "Recommend items to one user, and say why."),
}

INTERRUPTED = "interrupted; continue with --resume where the command offers it"


class Rooms(click.Group):
    """A group whose commands live in the rooms; a room is imported when its command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of a first walk through."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the room of a command."""
        if cmd_name not in COMMANDS:
            return None
        room = importlib.import_module(COMMANDS[cmd_name][0])
        command: click.Command = room.command(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands without importing their rooms."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=Rooms, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--debug", is_flag=True, help="Show a traceback with an error.")
@click.version_option(package_name="starling")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """Federated, privacy-preserving recommendation with a frozen language model."""
    context.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command; errors become one line and an exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments  # wherever it stands
    try:
        status: Any = cli.main(
            [a for a in arguments if a != "--debug"], prog_name="starling", standalone_mode=False
        )
    except click.exceptions.Abort:
        sys.exit(_tell(INTERRUPTED, 130))
    except KeyboardInterrupt:
        sys.exit(_tell(INTERRUPTED, 130))
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        sys.exit(_tell(f"error: {error.format_message()}{_where(error)}", error.exit_code))
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except BrokenPipeError:
        sys.exit(0)  # the reader, such as `head`, has seen enough
    except Exception as error:
        sys.exit(_explain(error, debug=debug))
    sys.exit(status if isinstance(status, int) else 0)


def _where(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see {context.command_path} --help)" if context else ""


def _explain(error: Exception, debug: bool) -> int:
    from shared.errors import StarlingError

    if debug:
        traceback.print_exc()
    if isinstance(error, StarlingError):
        return _tell(f"error: {error}", error.exit_code)
    if isinstance(error, ModuleNotFoundError):
        return _tell(f"error: {error}; pip install 'starling[simulate,minilm]'", 2)
    if isinstance(error, OSError) and error.strerror:
        return _tell(f"error: {error.filename or 'a file'}: {error.strerror}", 2)
    kind = type(error).__name__
    return _tell(f"error: {kind}: {error} (unexpected; --debug shows where)", 1)


def _tell(line: str, status: int) -> int:
    click.echo(" ".join(line.split()), err=True)
    return status


if __name__ == "__main__":
    main()
