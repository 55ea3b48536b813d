"""Experiment settings: frozen dataclasses read from TOML; an unknown key is an error.

`PrivacyConfig` and `EngineConfig` are separate on purpose: nothing in `EngineConfig` can change a
privacy guarantee, and nothing outside `PrivacyConfig` (and the number of rounds and the expected
cohort, which the ledger records) enters the accounting.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from shared.errors import ConfigError

_STRICT = ConfigDict(extra="forbid")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Factors = Literal["drawn", "principal", "core"]
Count = Annotated[int, Field(ge=1)]
Epsilon = Annotated[float, Field(gt=0)]  # infinity stands for "not private"


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Which interactions, and how much of one person's may be used."""

    spec: str = "world"
    users: Count | None = None  # only the first N users of the log (or the world's size)
    world_seed: Annotated[int, Field(ge=0)] = 0
    world_items: Annotated[int, Field(ge=20)] = 300
    evaluated_users: Count = 10_000  # metrics and references are over at most this many users
    negatives: Count = 99  # sampled per user for the sampled ranking metrics
    digest: str | None = None  # SHA-256 of the log; filled in when a run starts, then checked
    catalogue: str | None = None  # SHA-256 of the items; filled in when a run starts, then checked


@dataclass(frozen=True, config=_STRICT)
class WorldConfig:
    """What happens in the synthetic world; ignored for a log. By default none of it does."""

    drift: Annotated[float, Field(ge=0, le=1)] = 0.0  # turn of tastes in a year; 1: new ones
    scenarios: Annotated[int, Field(ge=1, le=5)] = 1  # occasions, each with tastes of its own
    contrast: NonNegative = 1.0  # strength of what distinguishes one scenario from another
    arrivals: Fraction = 0.0  # share of the items that appear in the course of the year
    slate: Annotated[int, Field(ge=0, le=50)] = 0  # items shown at once; 0: people choose freely
    temperature: Positive = 2.0  # of the logging policy; high: nearer to uniform
    exploration: Annotated[float, Field(ge=0, le=1)] = 0.2  # its share of uniformly random choice
    position_bias: NonNegative = 0.5  # eta: place p, from 0, is examined with chance (1 + p)^-eta


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The frozen backbone and what is trained on top of it."""

    backbone: str = "minilm"  # the bundled weights, a local folder, or a hub id with @revision
    backbone_sha256: str | None = None  # of its weights; filled in when a run starts, then checked
    layers: Annotated[int, Field(ge=0)] = 2  # the first k transformer layers; 0 keeps all
    weights: Literal["full", "int8", "int4"] = "full"  # precision of the frozen layers in memory
    instruction: str = ""  # text whose frozen word embeddings stand before the items
    max_length: Annotated[int, Field(ge=2, le=512)] = 50  # L, items per window
    lora_rank: Annotated[int, Field(ge=0)] = 8  # 0: the backbone is not adapted
    lora_alpha: Positive = 16.0
    lora_targets: tuple[str, ...] = ("query", "value")
    factors: Factors = "drawn"  # set by federation.aggregation
    item_rank: Annotated[int, Field(ge=0)] = 0  # rank of the item table's correction
    projection_rank: Annotated[int, Field(ge=0)] = 0  # text components that the core acts on
    item_bias: bool = True
    hidden_scale: NonNegative = 0.2  # weight of the language model's hidden state in the score
    summary_scale: NonNegative = 10.0  # weight of the decayed mean of the history's item vectors
    summary_decay: Fraction = 0.9  # weight of one step back in that mean
    seed: Annotated[int, Field(ge=0)] = 0  # initial adapter


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """What one client does in one round, and its contribution bound."""

    max_windows: Count = 4  # windows per user: at most max_windows x max_length targets
    local_steps: Count = 1
    local_batch: Annotated[int, Field(ge=0)] = 0  # windows per step; 0 takes all of them
    local_lr: Positive = 1.0
    personal_lr: Positive = 0.1  # step size of what stays on the device (fedsa)
    weight_decay: NonNegative = 0.0
    history_dropout: Fraction = 0.0  # chance that an item of the context is hidden, never a target


@dataclass(frozen=True, config=_STRICT)
class FederationConfig:
    """Rounds, cohort and the server's optimiser."""

    rounds: Count = 20
    cohort: Positive = 100.0  # expected users a round (Poisson); up to 1 it is a share of all users
    server_optimizer: Literal["fedavgm", "fedadam", "fedyogi"] = "fedadam"
    server_lr: Positive = 0.01
    lr_decay: Literal["constant", "linear", "cosine"] = "constant"
    beta_1: Fraction = 0.9
    beta_2: Fraction = 0.99
    tau: Positive = 1e-3
    average_last: Fraction = 0.0  # release the mean of this last share of iterates; 0: the last
    aggregation: Literal[
        "fedit", "ffa", "alternating", "fedsvd", "fedsb", "fedsa", "flexlora", "principal"
    ] = "fedit"
    ranks: tuple[Count, ...] = ()  # of clients, in turn (flexlora); empty: model.lora_rank for all
    popularity_start: bool = True  # the item bias starts from a (noised) popularity histogram
    popularity_strength: NonNegative = 1.0  # multiplies the logarithm of the popularity
    popularity_cohort: Positive = 1.0  # expected users in it (Poisson); up to 1 a share of all
    evaluate_every: Annotated[int, Field(ge=0)] = 0  # non-private selection on validation; 0: end
    metrics_every: Annotated[int, Field(ge=0)] = 0  # rounds between private metrics; 0: at the end
    metrics_cohort: Positive = 1.0  # expected users in them (Poisson); up to 1 a share of all
    select: Literal["last", "private_metric"] = "last"  # which noised iterate is released

    def expected_cohort(self, users: int) -> float:
        """Expected users in a round among `users`, in (0, users].

        Raises
        ------
        ConfigError
            If more are expected than there are.
        """
        return _expected("federation.cohort", self.cohort, users)

    def expected_popularity_cohort(self, users: int) -> float:
        """Expected users in the popularity histogram; as `expected_cohort`."""
        return _expected("federation.popularity_cohort", self.popularity_cohort, users)

    def expected_metrics_cohort(self, users: int) -> float:
        """Expected users in a release of private metrics; as `expected_cohort`."""
        return _expected("federation.metrics_cohort", self.metrics_cohort, users)


def _expected(name: str, cohort: float, users: int) -> float:
    expected = cohort * users if cohort <= 1 else cohort
    if expected > users:
        raise ConfigError(
            f"{name} = {cohort:g}: there are {users} users; give at most that, or a share in (0, 1]"
            ", where 1 is everyone"
        )
    return expected


@dataclass(frozen=True, config=_STRICT)
class PrivacyConfig:
    """Everything that a guarantee depends on, next to rounds and expected cohort."""

    unit: Literal["user", "example", "both"] = "user"
    trust: Literal["central", "distributed", "local"] = "central"
    relation: Literal["add_remove"] = "add_remove"
    group_size: Annotated[int, Field(ge=1, le=32)] = 1  # units that epsilon covers together
    epsilon: Epsilon = math.inf
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None  # None: see accountant.default_delta
    clipping_norm: Positive = 1.0  # of one user's update
    example_clipping_norm: Positive = 1.0  # of the gradient of one example, a window
    example_sampling: Annotated[float, Field(gt=0, le=1)] = 1.0  # q of an example in a local step
    example_epsilon: Epsilon | None = None  # unit both: its example-level budget; None: epsilon
    mechanism: Literal["gaussian", "dp_ftrl"] = "gaussian"  # noise of a round, or of all together
    min_separation: Count = 1  # dp_ftrl: rounds from one participation of a user to the next
    bands: Annotated[int, Field(ge=0)] = 0  # dp_ftrl: rounds its noise reaches back; 0: as many
    # Of one device under local noise, of one user under dp_ftrl; None: as often as there are rounds
    # (dp_ftrl: as the separation allows).
    max_participations: Count | None = None
    histogram_share: Fraction = 0.05  # of the budget, for the popularity histogram
    grid_bits: Annotated[int, Field(ge=4, le=24)] = 14  # distributed: C is 2^this grid steps
    # Distributed: devices whose noise a sum holds, as a share of the expected cohort; None: all.
    min_survivors: Annotated[float, Field(gt=0, le=1)] | None = None
    metrics_share: Fraction = 0.0  # of the budget, for private metrics from devices; 0: none
    adaptive_clipping: Fraction = 0.0  # quantile of norms that the clip follows; 0: it is fixed
    clipping_rate: Positive = 0.2  # eta, the step of the adaptive clip
    clipping_count_noise: Positive = 0.05  # sigma_b of its count, a share of the expected cohort


@dataclass(frozen=True, config=_STRICT)
class EngineConfig:
    """How the work is done. Changes speed and memory, never a guarantee."""

    engine: Literal["cohort", "sequential", "ray"] = "cohort"
    micro_batch: Annotated[int, Field(ge=0)] = 0  # clients at once; 0 chooses
    memory_mib: Annotated[int, Field(ge=0)] = 0  # for clients at once; 0 chooses
    batching: Literal["auto", "packed", "padded"] = "auto"  # how the cohort engine lays out windows
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0  # 0 leaves torch's default
    dtype: Literal["float32", "bf16"] = "float32"  # what the frozen backbone computes in
    checkpointing: bool = False  # recompute a layer's activations instead of keeping them
    # Processes beside this one: of the Ray engine (0 chooses), or of the cohort engine from 2 on.
    workers: Annotated[int, Field(ge=0)] = 0
    address: str = ""  # a running Ray cluster: auto or host:port; empty starts Ray here
    shard: Annotated[int, Field(ge=0)] = 0  # clients of one task of a worker; 0 chooses
    cpus_per_client: Count = 1
    gpus_per_client: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def sharded(self) -> bool:
        """Whether the cohort engine's work goes to worker processes instead of this one."""
        return self.engine == "cohort" and (self.workers > 1 or bool(self.address))


@dataclass(frozen=True, config=_STRICT)
class SweepConfig:
    """The points of the accuracy-versus-privacy curve."""

    epsilons: tuple[Epsilon, ...] = (1.0, 2.0, 4.0, 8.0, math.inf)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    references: tuple[Literal["popularity", "zero_shot", "local_only", "centralized"], ...] = (
        "popularity",
        "zero_shot",
        "local_only",
        "centralized",
    )


@dataclass(frozen=True, config=_STRICT)
class ReferenceConfig:
    """How the reference points that train are trained."""

    centralized_epochs: Count = 6
    centralized_batch: Count = 64
    centralized_lr: Positive = 1e-3
    local_steps: Count = 5
    local_lr: Positive = 0.1


@dataclass(frozen=True, config=_STRICT)
class ExperimentConfig:
    """One experiment: all sections, and overrides for points with a finite epsilon.

    `private` maps a section ("model", "train", "federation") to settings that replace the
    section's own wherever noise is added: fewer trained dimensions serve a noised model best.
    """

    data: DataConfig = DataConfig()
    world: WorldConfig = WorldConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    federation: FederationConfig = FederationConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    engine: EngineConfig = EngineConfig()
    sweep: SweepConfig = SweepConfig()
    references: ReferenceConfig = ReferenceConfig()
    private: dict[Literal["model", "train", "federation"], dict[str, Any]] = dataclasses.field(
        default_factory=dict
    )
    seed: Annotated[int, Field(ge=0)] = 0
