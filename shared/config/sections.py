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
Pooling = Literal["mean", "mean_apart", "last", "last_apart"]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Part = Annotated[float, Field(gt=0, le=1)]
Epsilon = Annotated[float, Field(gt=0)]  # infinity stands for "not private"


@dataclass(frozen=True, config=_STRICT)
class DataConfig:
    """Which interactions, and how much of one person's may be used."""

    # `world`, a known name (`starling data ls`), or a path to a folder or table
    spec: str = "world"
    # what a log's files call their columns, as `user=userId,item=movieId,timestamp=ts,text=title`
    columns: str | None = None
    # only N users of the log, chosen by their identifiers' hashes (or the world's size)
    users: Count | None = None
    world_seed: Natural = 0  # which synthetic world
    world_items: Annotated[int, Field(ge=20)] = 300  # size of the synthetic world's catalogue
    # metrics and references are over at most this many users, chosen by their identifiers' hashes
    evaluated_users: Count = 10_000
    negatives: Count = 99  # items sampled per user that the target is ranked against
    catalogue: str | None = None  # SHA-256 of the items; filled in when a run starts, then checked
    # how many there are; filled in when a run starts whose rounds follow from it, then checked
    people: Count | None = None


@dataclass(frozen=True, config=_STRICT)
class WorldConfig:
    """What happens in the synthetic world; ignored for a log. By default none of it does."""

    drift: Share = 0.0  # turn of tastes in a year; 1: new ones
    scenarios: Annotated[int, Field(ge=1, le=5)] = 1  # occasions, each with tastes of its own
    contrast: NonNegative = 1.0  # strength of what distinguishes one scenario from another
    arrivals: Fraction = 0.0  # share of the items that appear in the course of the year
    slate: Annotated[int, Field(ge=0, le=50)] = 0  # items shown at once; 0: people choose freely
    temperature: Positive = 2.0  # of the logging policy; high: nearer to uniform
    exploration: Share = 0.2  # its share of uniformly random choice
    position_bias: NonNegative = 0.5  # eta: place p, from 0, is examined with chance (1 + p)^-eta


@dataclass(frozen=True, config=_STRICT)
class ModelConfig:
    """The frozen backbone and what is trained on top of it."""

    # who reads histories: the bundled weights, `smollm2` (`make smollm2`), a local folder or GGUF
    # file, or a hub id with @revision
    backbone: str = "minilm"
    backbone_sha256: str | None = None  # of its weights; filled in when a run starts, then checked
    # who encodes items: a backbone, or a file .npz of vectors (`docs/backbones.md`); what enters
    # the reader is then made to look like its words. Unset: the backbone, as it is
    items: str | None = None
    items_sha256: str | None = None  # of that; filled in when a run starts, then checked
    # how the states of a text become an item's vector (`docs/backbones.md`); unset: what was chosen
    # for a bundled model, the mean for any other
    pooling: Pooling | None = None
    layers: Natural = 2  # the first k transformer layers; 0 keeps all
    # frozen layers in memory: as they are, or in 8 or 4 bit (`docs/backbones.md`)
    weights: Literal["full", "int8", "int4"] = "full"
    # text whose frozen word embeddings stand before the items of every history
    instruction: str = ""
    max_length: Annotated[int, Field(ge=2, le=512)] = 50  # L, items per window
    lora_rank: Natural = 8  # rank of the corrections to the backbone's layers; 0: not adapted
    lora_alpha: Positive = 16.0  # the backbone's corrections are scaled by lora_alpha / lora_rank
    # layers that are adapted: roles `query`, `key`, `value`, `output`, `mlp`, `dense`, or names
    lora_targets: tuple[str, ...] = ("query", "value")
    # a folder with a LoRA that plain PEFT saved, which the corrections begin from (adapters.md)
    start: str | None = None
    start_sha256: str | None = None  # of its files; filled in when a run starts, then checked
    # whoever makes the run states that nothing in it is of the run's people; true, or no start
    start_is_public: bool | None = None
    # how the corrections' factors begin: A `drawn` at random, `principal` directions of the frozen
    # weights, or these on both sides of an r x r `core`; `federation.aggregation` sets it
    factors: Factors = "drawn"
    item_rank: Natural = 0  # rank of the correction to the item table; 0: not corrected
    # leading text components that the core acts on; at most all there are
    projection_rank: Natural = 0
    # columns of each of the two tables that say which items people have together; 0: none
    moments_rank: Natural = 0
    # multiplies what these tables weigh in a score; unset: 1
    moments_scale: NonNegative | None = None
    item_bias: bool = True  # train one number per item that is added to its score
    hidden_scale: NonNegative = 0.2  # weight of the language model's hidden state in the score
    # multiplies what is known before any round of how a history and an item are alike
    affinity_scale: NonNegative = 1.0
    seed: Natural = 0  # of the initial adapter


@dataclass(frozen=True, config=_STRICT)
class TrainConfig:
    """What one client does in one round, and its contribution bound."""

    max_windows: Count = 4  # windows per user: at most max_windows x max_length targets
    local_steps: Count = 1  # optimiser steps of one client in one round
    local_batch: Natural = 0  # windows per step; 0 takes all of them
    local_lr: Positive = 1.0  # step size on the client
    personal_lr: Positive = 0.1  # step size of what stays on the device (fedsa)
    weight_decay: NonNegative = 0.0  # pull of the client's steps toward zero
    # exposure corrected for in the loss (causal.md): a target counts by the inverse of how likely
    # its item was to be met, a power law of the popularity that was released; `snips`: over the sum
    # of weights; unset: all count alike
    correction: Literal["ips", "snips"] | None = None
    # most that a target may count, where the usual one counts 1; unset: 10
    weight_bound: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    history_dropout: Fraction = 0.0  # chance that an item of the context is hidden, never a target


@dataclass(frozen=True, config=_STRICT)
class FederationConfig:
    """Rounds, cohort and the server's optimiser."""

    # rounds of federated training, fixed beforehand when noise is added; 0: nothing is trained, and
    # what is released once is the whole model; `auto`: by people and budget, see `config/rounds.py`
    rounds: Annotated[int, Field(ge=0, le=10**6)] | Literal["auto"] = 20
    cohort: Positive = 100.0  # expected users a round (Poisson); up to 1 it is a share of all users
    # what turns the (noised) mean update into a step
    server_optimizer: Literal["fedavgm", "fedadam", "fedyogi"] = "fedadam"
    server_lr: Positive = 0.01  # step size on the server
    # how the server's step size falls over the rounds
    lr_decay: Literal["constant", "linear", "cosine"] = "constant"
    beta_1: Fraction = 0.9  # momentum of the server optimiser
    beta_2: Fraction = 0.99  # decay of the second moment (fedadam, fedyogi)
    tau: Positive = 1e-3  # added to the root of the second moment (fedadam, fedyogi)
    average_last: Fraction = 0.0  # release the mean of this last share of iterates; 0: the last
    aggregation: Literal[  # what a round trains and how it is combined (aggregation.md)
        "fedit", "ffa", "alternating", "fedsvd", "fedsb", "fedsa", "flexlora", "principal"
    ] = "fedit"
    ranks: tuple[Count, ...] = ()  # of clients, in turn (flexlora); empty: model.lora_rank for all
    # whether devices' answers are added up before the server sees any (secure-aggregation.md):
    # `auto` on real devices wherever answers are summed as they are and hold no noise of their own;
    # `on` in a simulation too; `off`: the server sees every one
    secure_aggregation: Literal["auto", "on", "off"] = "auto"
    popularity_start: bool = True  # the item bias starts from a (noised) popularity histogram
    popularity_strength: NonNegative = 1.0  # multiplies the logarithm of the popularity
    # expected users in it, and in the moments (Poisson); up to 1 a share of all
    popularity_cohort: Positive = 1.0
    # without noise: rounds between validations, the best iterate is kept; 0: none
    evaluate_every: Natural = 0
    # with noise: rounds between private metrics from devices (statistics.md); 0: the released
    # adapter's alone
    metrics_every: Natural = 0
    metrics_cohort: Positive = 1.0  # expected users in them (Poisson); up to 1 a share of all
    # with noise: release the last (or averaged) iterate, or the one whose private metric is best
    # (statistics.md)
    select: Literal["last", "private_metric"] = "last"

    @property
    def fixed_rounds(self) -> int:
        """The rounds of a point.

        Raises
        ------
        ConfigError
            If nobody said how many: of a simulation they follow when it starts.
        """
        if self.rounds == "auto":
            raise ConfigError(
                "federation.rounds = auto: follows from the number of people, which is not known "
                "here; give --rounds N (a whole number, 0 or more)"
            )
        return self.rounds

    def expected_cohort(self, users: int) -> float:
        """Expected users in a round among `users`, in (0, users].

        Raises
        ------
        ConfigError
            If more are expected than there are.
        """
        return _expected("federation.cohort (--cohort)", self.cohort, users)

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

    # whose data counts as one: everything a person ever contributed
    unit: Literal["user", "example", "both"] = "user"
    # who adds the noise: the server, trusted with each device's own update; all devices together,
    # each a share; every device to its own message
    trust: Literal["central", "distributed", "local"] = "central"
    # epsilon bounds what so many units together change, such as the people of a household, or
    # examples of one person; the noise is calibrated for it (privacy.md)
    group_size: Annotated[int, Field(ge=1, le=32)] = 1
    epsilon: Epsilon = math.inf  # target privacy budget; `inf` trains without noise
    # what an event's probability may exceed e^epsilon times another by (privacy.md); unset: largest
    # power of ten <= 1 / (9 users)
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    # L2 norm that one person's update is cut down to; where the clip adapts, its first value
    clipping_norm: Positive = 1.0
    # without noise: cut users' updates down all the same, as the reference `same_model` does; where
    # examples are the unit, or products are summed (flexlora), nothing is cut without noise
    clip_without_noise: bool | None = None
    example_clipping_norm: Positive = 1.0  # of the gradient of one example, a window
    example_sampling: Part = 1.0  # q of an example in a local step
    example_epsilon: Epsilon | None = None  # unit both: its example-level budget; None: epsilon
    # noise of the updates: `gaussian`, independent in every round, amplified by a secretly sampled
    # cohort; `dp_ftrl`, correlated over rounds, with a cohort that may be known (dp-ftrl.md)
    mechanism: Literal["gaussian", "dp_ftrl"] = "gaussian"
    # under dp_ftrl: rounds from one participation of a user to the next, enforced; the cohort is at
    # most the users divided by it
    min_separation: Count = 1
    # under dp_ftrl: rounds that the noise of one reaches back, itself counted; at most
    # min_separation, which 0 stands for; 1: independent noise, not amplified
    bands: Natural = 0
    # of one device that adds noise, or of one user under dp_ftrl; refused elsewhere, where nothing
    # enforces it; unset: as often as rounds and min_separation allow
    max_participations: Count | None = None
    # share of the budget spent on the popularity histogram; unset: it follows from people and
    # budget (privacy.md)
    histogram_share: Fraction | None = None
    # the same of what says which items people have together (model.moments_rank); 0: nothing does
    moments_share: Fraction | None = None
    # trust `distributed`: bits of a number of a message; the fewer, the coarser the grid that a sum
    # of the cohort fits on, and from some 16 downwards the more noise (distributed.md)
    ring_bits: Annotated[int, Field(ge=12, le=32)] = 32
    # trust `distributed`: honest devices whose noise a sum must hold, as a share of the expected
    # cohort; by default those who come (where a cohort is drawn, but once in 10,000 rounds) less
    # the colluding ones. A sum of fewer than these and the colluding ones together is not opened.
    # Trust `central`: messages that a sum of secure aggregation must hold, as a share of those who
    # come; by default 0.6
    min_survivors: Part | None = None
    # share of a cohort that may be in league with the server: nobody counts on their noise
    colluding: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    # share of the budget spent on private metrics from devices (statistics.md); 0: none
    metrics_share: Fraction = 0.0
    # share of people whose updates should be within the clip, which then follows that quantile
    # (statistics.md); 0: the clip is fixed
    adaptive_clipping: Fraction = 0.0
    clipping_rate: Positive = 0.2  # step of the adaptive clip's logarithm
    # standard deviation of the noise on the adaptive clip's count, as a share of the expected
    # cohort; never more than a tenth of a round's budget goes there
    clipping_count_noise: Positive = 0.05


@dataclass(frozen=True, config=_STRICT)
class EngineConfig:
    """How the work is done. Changes speed and memory, never a guarantee."""

    # `cohort` trains clients in batches, `sequential` one at a time, `ray` by Flower's simulation
    # runtime (engines.md)
    engine: Literal["cohort", "sequential", "ray"] = "cohort"
    micro_batch: Natural = 0  # clients trained at once; 0 chooses
    # memory in MiB for the clients trained at once; 0 takes 512 on a CPU and half of what is free
    # on a GPU
    memory_mib: Natural = 0
    # how the cohort engine lays out windows: `packed` end to end without padding; `padded`, the
    # slow oracle; `auto` packs where the backbone can
    batching: Literal["auto", "packed", "padded"] = "auto"
    # where the model runs; `auto` takes the first accelerator found
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Natural = 0  # of the processor; 0 leaves the default
    # what the frozen backbone computes in; all that is trained stays float32
    dtype: Literal["float32", "bf16"] = "float32"
    checkpointing: bool = False  # compute a layer's activations twice instead of keeping them
    # processes beside this one, each with a model of its own (engines.md); engine `ray`: 0 chooses;
    # engine `cohort`: 0 and 1 compute in this process
    workers: Natural = 0
    # a Ray cluster that runs already: `auto`, or host:port of its head; empty: Ray is started on
    # this machine; with engine `cohort` only (cluster.md)
    address: str = ""
    shard: Natural = 0  # clients of one task of a worker; 0: 16, on a GPU 256
    cpus_per_client: Count = 1  # processor cores, and threads, of one worker process
    # share of a GPU of one worker process; 0: equal shares if the device is a GPU
    gpus_per_client: Share = 0.0

    @property
    def sharded(self) -> bool:
        """Whether the cohort engine's work goes to worker processes instead of this one."""
        return self.engine == "cohort" and (self.workers > 1 or bool(self.address))


@dataclass(frozen=True, config=_STRICT)
class SweepConfig:
    """The points of the accuracy-versus-privacy curve."""

    # one model is trained for each, and each seed; `inf` is not private
    epsilons: tuple[Epsilon, ...] = (1.0, 2.0, 4.0, 8.0, math.inf)
    seeds: tuple[Natural, ...] = (0,)  # repetitions of every epsilon
    # what the curve is compared with; `same_model` only where settings under [private] differ: the
    # noised points' model and rounds without noise, of the first seed
    references: tuple[
        Literal["popularity", "zero_shot", "local_only", "centralized", "same_model"], ...
    ] = ("popularity", "zero_shot", "local_only", "centralized", "same_model")


@dataclass(frozen=True, config=_STRICT)
class ReferenceConfig:
    """How the reference points that train are trained."""

    centralized_epochs: Count = 6  # passes over all windows, trained in one place
    centralized_batch: Count = 64  # windows per step, trained in one place
    centralized_lr: Positive = 1e-3  # step size of AdamW, trained in one place
    local_steps: Count = 5  # steps of one client that never communicates
    local_lr: Positive = 0.1  # step size of one client that never communicates


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
    seed: Natural = 0  # of everything random that is not data: cohorts, batches, simulated noise
