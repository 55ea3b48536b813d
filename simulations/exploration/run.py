"""All points of an online run, into a new folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shared.errors import ConfigError
from simulations.exploration.budget import Lifetime
from simulations.exploration.days import Stage, run_days
from simulations.exploration.figure import draw_online
from simulations.exploration.outcome import (
    FIGURE,
    Point,
    Row,
    ledger_name,
    summarised,
    write_outcome,
)
from simulations.exploration.settings import OnlineConfig


def run_online(
    config: OnlineConfig, folder: Path, told: Callable[[str], None] = lambda text: None
) -> list[Row]:
    """Run every policy under every budget in every world.

    Parameters
    ----------
    config : OnlineConfig
    folder : Path
        New, or empty.
    told : callable, optional
        Of progress, a line at a time.

    Returns
    -------
    list of Row

    Raises
    ------
    ConfigError
        If the folder holds something, cannot be written, or a budget is out of reach.
    DataError, ModelError
        If the world is too small for its course, or the encoder is not there.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder}: is there already; give a new folder")
    first = Stage.of(config, config.seeds[0])  # refuses before anything is made
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {folder}: cannot be made ({error.strerror})") from None
    points: list[Point] = []
    whole = len(config.seeds) * len(config.policies) * len(config.epsilons)
    for seed in config.seeds:
        stage = first if seed == config.seeds[0] else Stage.of(config, seed)
        for policy in config.policies:
            for epsilon in config.epsilons:
                file = folder / ledger_name(policy, epsilon, seed)
                digest = config.digest(policy, epsilon, seed)
                promised = config.guarantee(epsilon)
                lifetime = Lifetime(file, promised, config.days, digest, seed)
                course = run_days(stage, config, policy, lifetime, seed)
                kept = lifetime.ledger, lifetime.mechanism.noise_multiplier
                points.append(Point.of(policy, seed, kept, course))
                told(
                    f"{len(points)} of {whole}: {policy}, epsilon {epsilon:g}, seed {seed}: regret "
                    f"{sum(course.regret):.2f}, clicks {sum(course.reward):.2f} a person"
                )
    rows = summarised(points, config.shift)
    draw_online(points, rows, config.shift, folder / FIGURE)
    write_outcome(folder, config, points)
    return rows
