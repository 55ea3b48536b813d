"""A new server's folder: settings of its one point, catalogue, initial adapter, certificate."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.prepare import prepare
from server.up.authority import certificates, general_name
from server.up.folder import LOOPBACK, Served, ServerFolder, refuse_existing
from shared.config import ExperimentConfig, at_epsilon, load_toml
from shared.config.presets import override, preset_file
from shared.config.rounds import AUTO
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError
from shared.model.sources.choice import build, find
from shared.model.start import refuse_on_devices, refuse_same_people, start_of
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.privacy.policy.caps import Caps
from shared.privacy.policy.issue import promises

DEVICES_DELTA = Caps().delta
"""The largest that a device accepts whose owner wrote no caps."""


def point_of(
    config: Path | None,
    preset: str | None,
    flags: Mapping[str, Any],
    epsilon: float | None,
    users: int,
) -> ExperimentConfig:
    """The settings of the run's one point.

    Parameters
    ----------
    config, preset : Path, str or None
        A file, or committed settings by name (demo); not both.
    flags : mapping
        `section.name` -> value; None leaves it.
    epsilon : float or None
        None: what the settings say; those of a preset, inf.
    users : int
        That the run rests on: rounds follow from it where the settings leave them open.

    Raises
    ------
    ConfigError
        If a setting is wrong.
    """
    if config is not None and preset is not None:
        raise ConfigError("--config and --preset: give one of them")
    tree = load_toml(config or preset_file(preset or "demo"))
    given = {name: value for name, value in flags.items() if value is not None}
    own = tree.get("privacy", {}).pop("epsilon", math.inf)  # of a file for one point
    seed = tree.pop("seed", 0)
    whole = override(tree, given, preset=config is None)
    if whole.privacy.delta is None:  # of what follows from the number of people devices ask less
        delta = dataclasses.replace(whole.privacy, delta=DEVICES_DELTA)
        whole = dataclasses.replace(whole, privacy=delta)
    rounds = whole.federation.rounds, whole.private.get("federation", {}).get("rounds")
    if AUTO in rounds or whole.data.people:
        whole = dataclasses.replace(whole, data=dataclasses.replace(whole.data, people=users))
    return at_epsilon(whole, own if epsilon is None else epsilon, seed)


def among(point: ExperimentConfig, users: int) -> ExperimentConfig:
    """A preset's point among so many people: everybody is asked where it asks more than there are.

    Presets without noise expect a hundred a round.
    """
    if point.federation.cohort <= users:
        return point
    return dataclasses.replace(point, federation=dataclasses.replace(point.federation, cohort=1.0))


def begin(
    path: Path, catalogue: Catalogue, config: ExperimentConfig, hosts: list[str], asked: Asked
) -> ServerFolder:
    """Make a server's folder, all of it or nothing.

    Parameters
    ----------
    path : Path
        New.
    catalogue : Catalogue
    config : ExperimentConfig
        Of the point; digests are filled in here.
    hosts : list of str
        By which nodes reach the server; empty: this machine alone.
    asked : Asked

    Raises
    ------
    ConfigError, ModelError
        If it cannot be made; nothing is left behind.
    """
    refuse_existing(path)
    named = list(dict.fromkeys([*hosts, *LOOPBACK]))
    for host in named:
        general_name(host)
    promises(config, asked.users)  # that there is noise for the budget is known before anything
    sources = find(config.model)
    data = dataclasses.replace(config.data, catalogue=catalogue.digest)
    start = start_of(config.model, sources.reader)
    refuse_same_people(start, catalogue.digest)
    refuse_on_devices(config)
    begun = None if start is None else start.digest
    model = dataclasses.replace(sources.identified(config.model), start_sha256=begun)
    point = dataclasses.replace(config, data=data, model=model)
    recommender = build(catalogue, sources, model, start)
    folder = ServerFolder.begin(path, catalogue, certificates(named))
    try:
        made = prepare(recommender, point, folder.run)
        served = Served(
            hosts=named,
            port=asked.port,
            listen="0.0.0.0" if hosts else LOOPBACK[0],
            operator=public_hex(load_or_create_signing_key()),
            users=asked.users,
            point=str(made["name"]),
        )
        folder.configure(served)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return folder


@dataclasses.dataclass(frozen=True)
class Asked:
    """Numbers of a new server.

    Attributes
    ----------
    users : int
        People that the run rests on.
    port : int
        That nodes connect to.
    """

    users: int
    port: int
