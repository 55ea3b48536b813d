"""The page of settings, written from the settings themselves so that it cannot go stale.

Names, defaults and ranges come from the dataclasses of `shared.config`; the meaning of a setting
is the line in `MEANINGS`, or else the comment beside it. Rewrite the page
with `python -m shared.config.docs docs/configuration.md`.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
import sys
import textwrap
import tokenize
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from shared.config import sections as config
from shared.errors import ConfigError

MEANINGS = {
    "model.projection_rank": "leading text components that the core acts on; at most all there are",
    "data.spec": "`world`, a known name (`starling data ls`), or a path to a folder or table",
    "data.negatives": "items sampled per user that the target is ranked against",
    "data.world_seed": "which synthetic world",
    "data.world_items": "size of the synthetic world's catalogue",
    "data.evaluated_users": (
        "metrics and references are over at most this many users, evenly spread over all"
    ),
    "model.lora_rank": "rank of the corrections to the backbone's layers; 0: not adapted",
    "model.lora_alpha": "the backbone's corrections are scaled by lora_alpha / lora_rank",
    "model.lora_targets": (
        "layers that are adapted: roles `query`, `key`, `value`, `output`, `mlp`, `dense`, or names"
    ),
    "model.factors": (
        "how the corrections' factors begin: A `drawn` at random, `principal` directions of the "
        "frozen weights, or these on both sides of an r x r `core`; `federation.aggregation` sets "
        "it"
    ),
    "model.weights": "frozen layers in memory: as they are, or in 8 or 4 bit (`docs/backbones.md`)",
    "model.instruction": (
        "text whose frozen word embeddings stand before the items of every history"
    ),
    "model.item_rank": "rank of the correction to the item table; 0: not corrected",
    "model.seed": "of the initial adapter",
    "model.item_bias": "train one number per item that is added to its score",
    "train.local_steps": "optimiser steps of one client in one round",
    "train.local_lr": "step size on the client",
    "train.weight_decay": "pull of the client's steps toward zero",
    "federation.rounds": "rounds of federated training, fixed beforehand when noise is added",
    "federation.server_optimizer": "what turns the (noised) mean update into a step",
    "federation.server_lr": "step size on the server",
    "federation.lr_decay": "how the server's step size falls over the rounds",
    "federation.beta_1": "momentum of the server optimiser",
    "federation.beta_2": "decay of the second moment (fedadam, fedyogi)",
    "federation.tau": "added to the root of the second moment (fedadam, fedyogi)",
    "federation.evaluate_every": (
        "without noise: rounds between validations, the best iterate is kept; 0: none"
    ),
    "federation.metrics_every": (
        "with noise: rounds between private metrics from devices (statistics.md); 0: the released "
        "adapter's alone"
    ),
    "federation.select": (
        "with noise: release the last (or averaged) iterate, or the one whose private metric is "
        "best (statistics.md)"
    ),
    "federation.aggregation": "what a round trains and how it is combined (aggregation.md)",
    "privacy.unit": "whose data counts as one: everything a person ever contributed",
    "privacy.trust": (
        "who adds the noise: the server, which is trusted with the exact sum; all devices "
        "together, each a share; every device to its own message"
    ),
    "privacy.grid_bits": (
        "trust `distributed`: the clipping norm is 2^this steps of the grid that is summed on"
    ),
    "privacy.min_survivors": (
        "trust `distributed`: devices whose noise a sum must hold, as a share of the expected "
        "cohort; with fewer the round is skipped; by default all of them where everyone takes "
        "part, else as many as a drawn cohort has but once in 10,000 rounds"
    ),
    "privacy.relation": "neighbouring data sets differ by one unit more or less",
    "privacy.group_size": (
        "epsilon bounds what so many units together change, such as the people of a household, or "
        "examples of one person; the noise is calibrated for it (privacy.md)"
    ),
    "privacy.epsilon": "target privacy budget; `inf` trains without noise",
    "privacy.delta": "chance that the bound fails; unset: largest power of ten <= 1 / (9 users)",
    "privacy.mechanism": (
        "noise of the updates: `gaussian`, independent in every round, amplified by a secretly "
        "sampled cohort; `dp_ftrl`, correlated over rounds, with a cohort that may be known "
        "(dp-ftrl.md)"
    ),
    "privacy.min_separation": (
        "under dp_ftrl: rounds from one participation of a user to the next, enforced; the cohort "
        "is at most the users divided by it"
    ),
    "privacy.bands": (
        "under dp_ftrl: rounds that the noise of one reaches back, itself counted; at most "
        "min_separation, which 0 stands for; 1: independent noise, not amplified"
    ),
    "privacy.max_participations": (
        "of one device that adds noise, or of one user under dp_ftrl; refused elsewhere, where "
        "nothing enforces it; unset: as often as rounds and min_separation allow"
    ),
    "privacy.histogram_share": "share of the budget spent on the popularity histogram",
    "privacy.clipping_norm": (
        "L2 norm that one person's update is cut down to; where the clip adapts, its first value"
    ),
    "privacy.metrics_share": (
        "share of the budget spent on private metrics from devices (statistics.md); 0: none"
    ),
    "privacy.adaptive_clipping": (
        "share of people whose updates should be within the clip, which then follows that quantile "
        "(statistics.md); 0: the clip is fixed"
    ),
    "privacy.clipping_rate": "step of the adaptive clip's logarithm",
    "privacy.clipping_count_noise": (
        "standard deviation of the noise on the adaptive clip's count, as a share of the expected "
        "cohort; never more than a tenth of a round's budget goes there"
    ),
    "engine.engine": (
        "`cohort` trains clients in batches, `sequential` one at a time, `ray` by Flower's "
        "simulation runtime (engines.md)"
    ),
    "engine.micro_batch": "clients trained at once; 0 chooses",
    "engine.memory_mib": "memory in MiB for the clients trained at once; 0 takes 512 on a CPU and "
    "half of what is free on a GPU",
    "engine.batching": "how the cohort engine lays out windows: `packed` end to end without "
    "padding; `padded`, the slow oracle; `auto` packs where the backbone can",
    "engine.threads": "of the processor; 0 leaves the default",
    "engine.dtype": "what the frozen backbone computes in; all that is trained stays float32",
    "engine.checkpointing": "compute a layer's activations twice instead of keeping them",
    "engine.workers": (
        "processes beside this one, each with a model of its own (engines.md); engine `ray`: 0 "
        "chooses; engine `cohort`: 0 and 1 compute in this process"
    ),
    "engine.address": (
        "a Ray cluster that runs already: `auto`, or host:port of its head; empty: Ray is started "
        "on this machine; with engine `cohort` only (cluster.md)"
    ),
    "engine.shard": "clients of one task of a worker; 0: 16, on a GPU 256",
    "engine.cpus_per_client": "processor cores, and threads, of one worker process",
    "engine.gpus_per_client": (
        "share of a GPU of one worker process; 0: equal shares if the device is a GPU"
    ),
    "engine.device": "where the model runs; `auto` takes the first accelerator found",
    "sweep.epsilons": "one model is trained for each, and each seed; `inf` is not private",
    "sweep.seeds": "repetitions of every epsilon",
    "sweep.references": "what the curve is compared with",
    "references.centralized_epochs": "passes over all windows, trained in one place",
    "references.centralized_batch": "windows per step, trained in one place",
    "references.centralized_lr": "step size of AdamW, trained in one place",
    "references.local_steps": "steps of one client that never communicates",
    "references.local_lr": "step size of one client that never communicates",
    "seed": "of everything random that is not data: cohorts, batches, simulated noise",
}

INTRODUCTION = """\
# Settings

Written from `shared/config/sections.py`, not by hand: `python -m shared.config.docs
docs/configuration.md`.

An experiment is one TOML file, given with `--config`, or a preset, given with `--preset`. Options
on the command line replace what the file says. A setting that is not listed here is an error, and
so is a value outside its range. Infinity is written `inf`.

What enters the privacy accounting: `[privacy]`, the rounds, the expected cohort, and whether the
item bias starts from a popularity histogram. Nothing in `[engine]` can change a guarantee.
"""

PRIVATE = """\
## `[private.model]`, `[private.train]`, `[private.federation]`

Settings that replace those of the section wherever noise is added (a finite epsilon): a noised
model is served best by fewer trained dimensions. Names and ranges are those of the section.
"""


def configuration_page() -> str:
    """The text of `docs/configuration.md`."""
    parts = [INTRODUCTION]
    for name, kind in sections():
        parts.append(_section(name, kind))
    top = [_row(config.ExperimentConfig, "", "seed")]
    return "\n".join([*parts, PRIVATE, "## Outside any section\n", _table(top)])


def sections() -> Iterator[tuple[str, type]]:
    """Name and dataclass of each section, in order."""
    for field in dataclasses.fields(config.ExperimentConfig):
        if dataclasses.is_dataclass(field.default):
            yield field.name, type(field.default)


def comments(kind: type) -> dict[str, str]:
    """The comment of each field of a dataclass: beside it, or in the lines directly above.

    Parameters
    ----------
    kind : type
        A class whose source can be read.
    """
    source = textwrap.dedent(inspect.getsource(kind))
    tokens = tokenize.generate_tokens(StringIO(source).readline)
    notes = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    lines = source.splitlines()
    found = {}
    (body,) = ast.parse(source).body
    for node in ast.walk(body):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        beside = [notes[n] for n in (node.lineno, node.end_lineno) if n in notes][:1]
        above: list[tokenize.TokenInfo] = []
        line = node.lineno - 1
        while not beside and line in notes and lines[line - 1].lstrip().startswith("#"):
            above.insert(0, notes[line])
            line -= 1
        text = " ".join(t.string.lstrip("# ") for t in [*above, *beside])
        if text:
            found[node.target.id] = text
    return found


def _section(name: str, kind: type) -> str:
    rows = [_row(kind, name, field.name) for field in dataclasses.fields(kind)]
    summary = (inspect.getdoc(kind) or "").splitlines()[0]
    return f"## `[{name}]`\n\n{summary}\n\n{_table(rows)}"


def _row(kind: type, section: str, field: str) -> tuple[str, str, str, str]:
    fields = {f.name: f for f in dataclasses.fields(kind)}
    schema = TypeAdapter(kind).json_schema()["properties"][field]
    key = f"{section}.{field}" if section else field
    meaning = MEANINGS.get(key) or comments(kind).get(field)
    if meaning is None:
        raise ConfigError(
            f"{key}: nothing says what it means; write a comment beside it in "
            "shared/config/sections.py"
        )
    return f"`{field}`", _value(fields[field].default), accepted(schema), meaning


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    head = ("Setting", "Default", "Accepted", "Meaning")
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in [head, *rows]]
    lines = [f"| {' | '.join(row)} |" for row in escaped]
    lines.insert(1, "|---|---|---|---|")
    return "\n".join(lines) + "\n"


def accepted(schema: dict[str, Any]) -> str:
    """A JSON schema in words: `integer, at least 1, or unset`."""
    if "anyOf" in schema:
        known = [accepted(part) for part in schema["anyOf"] if part.get("type") != "null"]
        return f"{' or '.join(known)}, or unset"
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of: {accepted(schema['items'])}"
    if schema["type"] == "boolean":
        return "`true`, `false`"
    bounds = {
        "exclusiveMinimum": "above {}",
        "minimum": "at least {}",
        "exclusiveMaximum": "below {}",
        "maximum": "at most {}",
    }
    words = ["text" if schema["type"] == "string" else schema["type"]]
    words += [text.format(schema[key]) for key, text in bounds.items() if key in schema]
    return ", ".join(words)


def _value(default: Any) -> str:
    """A default as it would stand in TOML."""
    if default is None:
        return "unset"
    if isinstance(default, tuple):
        return f"`[{', '.join(_toml(item) for item in default)}]`"
    return f"`{_toml(default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return "inf" if isinstance(value, float) and math.isinf(value) else str(value)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(configuration_page(), encoding="utf-8")
