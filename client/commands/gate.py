"""What a device would answer, what it has spent, and who it is to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.canonical import document
from shared.errors import ConfigError, PrivacyError
from shared.printable import printable

if TYPE_CHECKING:
    from shared.config import ExperimentConfig
    from shared.privacy.ledger.ledger import Ledger
    from shared.privacy.policy.caps import Caps
    from shared.privacy.policy.signed import Policy

_AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def identity(
    state: Annotated[str, typer.Argument(help="A device's state folder.")],
    as_json: _AsJson = False,
) -> None:
    """Print the public key by which other devices know this one in a secure sum.

    A line of a roster: the file of all devices that a person wants to be summed with, and no other
    (roster in the device's device.toml).
    """
    from client.secagg.identity import identity_of
    from shared.privacy.keys import public_hex

    folder = Path(state)
    if not state or not folder.is_dir():  # a typing error would make an identity of nobody's
        there = "is a file" if folder.is_file() else "there is no such folder"
        raise ConfigError(
            f"{state!r}: {there}; give a device's folder, which starling client init makes"
        )
    found = public_hex(identity_of(folder))
    typer.echo(document({"identity": found}) if as_json else found)


def serve(
    state: Annotated[Path, typer.Option(help="The device's folder, see starling client init.")],
    socket: Annotated[
        Path | None, typer.Option(help="Where to listen; default: in the device's folder.")
    ] = None,
    uid: Annotated[
        list[str] | None,
        typer.Option(help="A user whose relay is answered, by number or name; default: your own."),
    ] = None,
) -> None:
    """Be a device's own process: answer the relay of its node over a socket, until ended.

    The node is configured with device=SOCKET and nothing else; what a server sends it to run can
    ask this process, and open nothing of it.
    """
    import logging
    import os

    from client.device.folder import DeviceFolder
    from client.device.process import Process

    users = [_user(word) for word in uid or []] or [os.getuid()]
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("starling").setLevel(logging.INFO)
    path = socket.absolute() if socket else None
    Process(DeviceFolder(state), users, path).serve()


def _user(word: str) -> int:
    """A user of this system, by number or name."""
    import pwd

    if word.isascii() and word.isdecimal():
        return int(word)
    try:
        return pwd.getpwnam(word).pw_uid
    except (KeyError, ValueError):
        raise ConfigError(
            f"--uid {word!r}: no user of this system; give a number or a name, as in id USER"
        ) from None


def check(
    file: Annotated[Path, typer.Argument(help="A signed policy.")],
    operator: Annotated[
        str, typer.Option(help="The key that the device's owner trusts: hex, or a file.")
    ],
    caps: Annotated[Path | None, typer.Option(help="The owner's caps.toml.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="A device's state folder: asked as it is now, not changed.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="The point's settings, to recompute what it promises.")
    ] = None,
    rounds: Annotated[
        int, typer.Option(min=1, help="Ask as in so many rounds, from the next one on.")
    ] = 1,
    a_day: Annotated[
        int | None, typer.Option(min=1, help="So many requests a day; default: all today.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Answer as a device would, and exit with 0 if it takes part, 3 if it declines."""
    import dataclasses
    import tempfile

    from client.device.covered import typed_key
    from client.device.rehearsal import Answer, Rehearsal
    from shared.privacy.policy.signed import load_policy, policy_text

    key = typed_key("--operator", operator)
    made, text = load_policy(file, None), policy_text(file)
    settings = None if config is None else _settings_of(made, config)
    with tempfile.TemporaryDirectory() as folder:
        device = Rehearsal(Path(folder), text, made, key, settings)
        device.copy(state, caps)
        owners, written = device.caps, device.caps_file
        answers = list(device.answers(rounds, a_day))
    if not answers:
        answers = [Answer(True, "nothing more can be asked of this device in this run")]
    takes_part = answers[-1].accepted
    if as_json:
        told = [dataclasses.asdict(answer) for answer in answers]
        page: dict[str, Any] = {"takes_part": takes_part, **_limits(owners, written)}
        typer.echo(document({**page, "answers": told, "recomputed": settings is not None}))
    else:
        typer.echo(_allowed(owners, written))
        for answer in answers:
            typer.echo(answer.words)
        if settings is None:
            typer.echo("(taken at its word: that the settings give these promises needs --config)")
    if not takes_part:
        raise typer.Exit(PrivacyError.exit_code)


def _allowed(owners: Caps, file: Path | None) -> str:
    whose = "owner's caps" if file else "caps of a device whose owner wrote none"
    return f"{whose}: {owners.in_words()}"


def _limits(owners: Caps, file: Path | None) -> dict[str, Any]:
    import dataclasses

    return {"caps": dataclasses.asdict(owners), "caps_file": None if file is None else str(file)}


def _settings_of(made: Policy, config: Path) -> ExperimentConfig:
    from shared.config import from_dict, load_toml, settings_hash

    point = from_dict(load_toml(config), source=str(config))
    if settings_hash(point) != made.settings:
        raise ConfigError(
            f"{config}: not the settings of this policy; a run keeps them as points/NAME.toml"
        )
    return point


def spent(
    state: Annotated[Path, typer.Argument(help="A device's state folder.")],
    as_json: _AsJson = False,
) -> None:
    """Say what a device agreed to, what its owner allows, and what taking part has cost."""
    from client.device.agreement import AGREED
    from client.device.rehearsal import state_files
    from client.person.spending import read_spending
    from shared.privacy.policy.show import in_words, plain

    state_files(state)  # refuses a folder that is no device's
    found = read_spending(state)
    made = found.agreed
    together = [(each.guarantee.unit, each.spent, each.guarantee.delta) for each in found.budgets]
    if as_json:
        page = {**_limits(found.caps, found.caps_file), "agreed": plain(made) if made else None}
        of_each = [_record(each) for each in found.kept]
        sums = [dict(zip(("unit", "epsilon", "delta"), each, strict=True)) for each in together]
        typer.echo(document({**page, "records": of_each, "together": sums}))
        return
    typer.echo(_allowed(found.caps, found.caps_file))
    word = f"no {AGREED} is here" if found.kept else "this device has agreed to nothing yet"
    typer.echo(in_words(made, state / AGREED) if made else f"{printable(state)}: {word}")
    for told in map(_record, found.kept):
        typer.echo(
            f"{told['file']}: {told['entries']} entries, {told['unit']}-level epsilon "
            f"{told['epsilon']:.4g} at delta {told['delta']:g} ({told['trust']} trust); "
            f"against {told['adversary']}"
        )
    for unit, epsilon, delta in together:
        typer.echo(f"all together: {unit}-level epsilon {epsilon:.4g} at delta {delta:g}")


def _record(ledger: Ledger) -> dict[str, Any]:
    """What one record holds, and what that cost."""
    header = ledger.header.guarantee
    return {
        "file": ledger.name,
        "entries": len(ledger),
        "unit": header.unit,
        "epsilon": ledger.epsilon(),
        "delta": header.delta,
        "trust": header.trust,
        "adversary": header.adversary,
    }
