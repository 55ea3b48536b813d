"""`starling profile`: a person's taste in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from shared.canonical import document
from simulations.commands.options import sources, takes

Writer = Annotated[
    str, typer.Option(help="Who writes: template, or a causal language model such as smollm2.")
]


@dataclass(frozen=True)
class Profiled:
    """The options of `starling profile`."""

    data: Annotated[
        str, typer.Option(help="world, a known name, or a path.", autocompletion=sources)
    ]
    user: Annotated[str, typer.Option(help="A user of the log, by identifier.")]
    adapter: Annotated[
        Path | None, typer.Option(help="Say what weighs most in what this one recommends, too.")
    ] = None
    writer: Writer = "template"
    users: Annotated[int | None, typer.Option(min=1, help="Only N of the users.")] = None
    columns: Annotated[
        str | None, typer.Option(help="What its files call them: user=userId,item=movieId.")
    ] = None
    world_seed: Annotated[int | None, typer.Option(min=0, help="Of the synthetic world.")] = None
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False


@takes(Profiled)
def profile_user(given: Profiled) -> None:
    """Say one user's taste in words: from their history and public texts, and nothing else."""
    from client.words.said import said_line, told_said
    from shared.config import DataConfig
    from simulations.api.tastes import profiled, profiled_with
    from simulations.api.trained import Tried
    from simulations.show import show_line, waiting

    with waiting(f"reading {given.data}"):
        if given.adapter:
            tried = Tried(given.adapter, given.data, given.columns, given.users, given.world_seed)
            found, people = profiled_with(tried, given.user, given.writer)
        else:
            named: dict[str, Any] = {"users": given.users, "columns": given.columns}
            data = DataConfig(spec=given.data, world_seed=given.world_seed or 0, **named)
            found, people = profiled(data, given.user, given.writer)
    if given.as_json:
        typer.echo(document({"user": given.user, "data": people.name, **told_said(found)}))
        return
    show_line(said_line(found))
