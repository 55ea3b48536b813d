"""What a simulation takes: `starling simulate --cohort 64` and `starling.simulate(cohort=64)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict, get_args, get_type_hints


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes
    ----------
    to : str
        The setting that it replaces, if any; of its own name, where that ends in a dot.
    text : str
        What it says of itself.
    """

    to: str
    text: str


class Options(TypedDict, total=False):
    """By name; what is not given is as the settings have it that the run begins from."""

    data: Annotated[str | Path, Option("data.spec", "world, a known name, or a path.")]
    columns: Annotated[str, Option("data.", "What its files call them: user=userId,item=movieId.")]
    config: Annotated[str | Path, Option("", "Settings, a TOML file.")]
    preset: Annotated[str, Option("", "Committed settings by name, such as default or local.")]
    engine: Annotated[str, Option("engine.", "How clients are trained.")]
    unit: Annotated[str, Option("privacy.", "What is hidden.")]
    trust: Annotated[str, Option("privacy.", "Who adds noise.")]
    mechanism: Annotated[str, Option("privacy.", "Noise over the rounds.")]
    epsilon: Annotated[
        float | Sequence[float], Option("sweep.epsilons", "Budgets, such as 1,2,4,8,inf.")
    ]
    delta: Annotated[float, Option("privacy.", "Of the guarantee, in (0, 1).")]
    clipping_norm: Annotated[
        float, Option("privacy.", "Of a person's update; its first value where it adapts.")
    ]
    adaptive_clipping: Annotated[
        float, Option("privacy.", "Quantile of norms that the clip follows; 0: fixed.")
    ]
    metrics_share: Annotated[
        float, Option("privacy.", "Of the budget, for metrics from devices; 0: none.")
    ]
    metrics_every: Annotated[
        int, Option("federation.", "Rounds between them; 0: of the released adapter alone.")
    ]
    rounds: Annotated[int, Option("federation.", "Rounds of every point.")]
    cohort: Annotated[
        float, Option("federation.", "Expected users a round; up to 1 is a share of all.")
    ]
    users: Annotated[int, Option("data.", "Only N of the users.")]
    aggregation: Annotated[str, Option("federation.", "The rule, see docs/aggregation.md.")]
    secure_aggregation: Annotated[
        str, Option("federation.", "Add answers up before the server sees them.")
    ]
    seeds: Annotated[Sequence[int], Option("sweep.", "Such as 0,1,2.")]
    references: Annotated[Sequence[str], Option("sweep.", "With commas; none for none.")]
    backbone: Annotated[
        str | Path, Option("model.", "Reads histories: minilm, smollm2, a folder, id@revision.")
    ]
    items: Annotated[
        str | Path, Option("model.", "Encodes items: a backbone, or vectors in a file .npz.")
    ]
    layers: Annotated[int, Option("model.", "Keep the first N layers; 0: all.")]
    start: Annotated[
        str | Path, Option("model.", "A folder with a LoRA of plain PEFT to begin from.")
    ]
    start_is_public: Annotated[
        bool, Option("", "State that nothing in it is of this run's people.")
    ]
    device: Annotated[str, Option("engine.", "Where the model runs.")]
    dtype: Annotated[str, Option("engine.", "Of the backbone.")]
    micro_batch: Annotated[int, Option("engine.", "Clients trained at once.")]
    workers: Annotated[
        int, Option("engine.", "Worker processes; cohort: from 2 on, ray: 0 chooses.")
    ]
    ray_address: Annotated[
        str, Option("engine.address", "Workers on a running Ray cluster: auto or host:port.")
    ]
    cpus_per_client: Annotated[int, Option("engine.", "Cores of each of them.")]
    gpus_per_client: Annotated[float, Option("engine.", "Share of a GPU of each, such as 0.25.")]
    out: Annotated[str | Path, Option("", "A new folder for everything made.")]
    resume: Annotated[bool | str | Path, Option("", "Continue the run in this folder.")]
    track: Annotated[
        Sequence[str], Option("", "Tell these too: tensorboard, wandb, mlflow, with commas.")
    ]
    quiet: Annotated[bool, Option("", "No progress.")]


def options() -> Mapping[str, tuple[Any, Option]]:
    """Type and what it says, by name."""
    hints = get_type_hints(Options, include_extras=True)
    return {name: (get_args(hint)[0], get_args(hint)[1]) for name, hint in hints.items()}


def settings() -> Mapping[str, str]:
    """The setting that an option replaces, `section.name`, of each that replaces one."""
    found = {name: option.to for name, (_, option) in options().items()}
    return {name: to + name if to.endswith(".") else to for name, to in found.items() if to}
