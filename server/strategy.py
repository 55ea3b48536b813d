"""One federated round, top to bottom in the order in which it happens.

    1. sample     S_t: every user independently with probability q
    2. send       theta_t to S_t
    3. combine    sum over i in S_t of what each clipped (under local trust: and noised) itself
    4. record     the event in the ledger, flushed to disk, before anything is released
    5. noise      + z C N(0, I); under local trust steps 4 and 5 happened on the devices
    6. average    / (q N), the expected cohort: every client weighs the same
    7. step       Flower's server optimiser, on what the round trained
    8. keep       average of iterates; best on validation (non-private only)
    9. refactor   the same model in the aggregation rule's coordinates: post-processing
   10. checkpoint state and ledger position, atomically

References
----------
McMahan et al. 2018, Learning Differentially Private Recurrent Language Models (DP-FedAvg).
Reddi et al. 2021, Adaptive Federated Optimization.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from server.checkpoint import ServerState, save
from server.exchange import Exchange
from server.messages import Replies, point_settings, requests
from server.optimizer import SQUARES, ServerOptimizer
from server.releases import Releasing
from server.sampling import PoissonSampler, node_ids
from shared.aggregation import Carried, rule_of
from shared.aggregation.travel import sent
from shared.config import ExperimentConfig
from shared.data.split import evaluated_users
from shared.errors import ProtocolError
from shared.metrics import ranking_metrics
from shared.model.adapter import AdapterSchema
from shared.model.arrays import Arrays
from shared.privacy.units import devices_add_noise, update_limit

RoundEntry = dict[str, float]
Vector = npt.NDArray[np.float64]


class PrivateFedOpt(Strategy):
    """Federated optimisation of an adapter under differential privacy.

    Parameters
    ----------
    config : ExperimentConfig
        The settings of one point.
    schema : AdapterSchema
    state : ServerState
        Fresh, or from a checkpoint; advanced in place.
    sampler : PoissonSampler
    releases : Releasing
        Mechanisms, ledger and noise: the only way from a sum to a released one.
    checkpoint : Path
        Written after every round.
    on_round : callable
        Told of every completed round.
    merge : bool
        Whether one reply may sum several clients; see `server.messages.Replies`.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        schema: AdapterSchema,
        state: ServerState,
        sampler: PoissonSampler,
        releases: Releasing,
        checkpoint: Path,
        on_round: Callable[[RoundEntry], None],
        *,
        merge: bool,
    ) -> None:
        self.config = config
        self.schema = schema
        self.state = state
        self._sampler = sampler
        self._releases = releases
        self._checkpoint = checkpoint
        self._on_round = on_round
        self._merge = merge
        self._settings = point_settings(config)
        self._rule = rule_of(config)
        self._optimizer = ServerOptimizer(config.federation)
        self._optimizer.restore(state.optimizer)
        self._offset = state.round_number  # Flower counts rounds from 1 also after a resumption
        self._cohort: list[int] = []
        self._exchange = Exchange(self._rule, schema, 1, [], [])  # until the first round
        self._evaluated: list[int] = []

    def summary(self) -> None:
        """Nothing to log: the settings are in the point's own file."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Steps 1 and 2: sample the cohort, address it."""
        round_number = self._offset + server_round
        nodes = node_ids(grid)
        self._cohort = self._sampler.draw(round_number, nodes)
        exchange = self._exchange = Exchange(
            self._rule, self.schema, round_number, self._cohort, nodes
        )
        messages: list[Message] = []
        for members, rank in exchange.groups():
            down = exchange.down(_plain(arrays), rank)
            self.state.bytes_down += len(members) * sum(array.nbytes for array in down.values())
            messages += requests(
                members,
                MessageType.TRAIN,
                self._settings,
                round_number=round_number,
                users=self._sampler.users,
                merge=self._merge and self._rule.linear,
                arrays=down,
                schema=exchange.up(rank).digest,
            )
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Steps 3 to 10: combine, record, noise, average, step, keep, refactor, checkpoint."""
        round_number = self._offset + server_round
        exchange, limit = self._exchange, update_limit(self.config)
        summed = exchange.summed
        checked = Replies(replies, self._cohort, self._merge and self._rule.linear)
        opened = exchange.opener(self.schema.split(self.state.adapter), limit)
        updates = checked.updates(summed.digest, summed.dim, limit, opened)
        total = self._rule.combine(updates, summed.dim)
        # Devices with a budget of their own may all have spent it: then nobody took part.
        silent = devices_add_noise(self.config) and not checked.failures
        if self._cohort and not checked.answered and not silent:
            raise ProtocolError(f"round {round_number}: no update counted: {checked.failures[:1]}")
        noised = self._releases.release("update", total, round_number)
        mean = noised / self._sampler.expected
        self.state.adapter = self._step(round_number, mean, exchange.summed)
        self.state.round_number = round_number
        self.state.ledger = self._releases.position()
        self.state.bytes_up += exchange.bytes_up(checked.answered)
        self._keep_average(round_number)
        self._refactor()
        # A deployment must not publish these: cohort size and exact norms are not noised.
        entry = {
            "round": float(round_number),
            "participants": float(len(checked.answered)),
            "failures": float(len(checked.failures)),
            "signal_norm": float(np.linalg.norm(total)),
            "noise_norm": float(np.linalg.norm(noised - total)),
        }
        self.state.history.append(entry)
        if not self._validates(round_number):  # else one checkpoint covers step and selection
            save(self.state, self._checkpoint)
        self._on_round(entry)
        return self.arrays(self.state.adapter), MetricRecord({"participants": len(self._cohort)})

    def _step(self, round_number: int, mean: Vector, summed: AdapterSchema) -> Vector:
        """Step 7, in the coordinates of what is summed."""
        rule, adapter = self._rule, self.state.adapter
        where = rule.space(self.schema).places(summed)
        inside = rule.enter(self.schema, adapter)
        moved = self._optimizer.step(round_number, inside, mean, where)
        return rule.leave(self.schema, moved, adapter)

    def _keep_average(self, round_number: int) -> None:
        settings = self.config.federation
        if round_number > settings.rounds * (1 - settings.average_last):
            self.state.average = self._rule.enter(self.schema, self.state.adapter) + (
                self.state.average if self.state.averaged else 0.0
            )
            self.state.averaged += 1

    def _refactor(self) -> None:
        """Write the model in the coordinates that the rule wants, and with it all that is kept."""
        moments, averages = self._optimizer.state(), {"average": self.state.average}
        squares = {name: moments.pop(name) for name in SQUARES if name in moments}
        sums = {**moments, **(averages if self.state.averaged else {})}
        new = self._rule.refactor(
            self.schema, Carried(self.state.adapter, sums, squares, self.state.averaged)
        )
        self.state.adapter = new.adapter
        self.state.average = new.sums.get("average", self.state.average)
        self._optimizer.restore({**{name: new.sums[name] for name in moments}, **new.squares})
        self.state.optimizer = self._optimizer.state()

    def _validates(self, round_number: int) -> bool:
        every = self.config.federation.evaluate_every
        return not self._releases.private and every > 0 and round_number % every == 0

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Validation for selection: on non-private points only, where it costs no budget."""
        round_number = self._offset + server_round
        self._evaluated = []
        if not self._validates(round_number):
            return []
        self._evaluated = self._asked(grid)
        return self._ask_ranks(self._evaluated, arrays, "validation", round_number)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Keep the iterate with the best validation HR@10 + NDCG@10.

        Not where devices keep tensors: those they have go with the last iterate alone.
        """
        if not self._evaluated:
            return None
        metrics = ranking_metrics(*Replies(replies, self._evaluated, self._merge).ranks())
        score = metrics["hr@10"] + metrics["ndcg@10"]
        personal = self._rule.personal(self.schema.names)
        if score > self.state.best_score and not personal:
            self.state.best, self.state.best_score = self.state.adapter.copy(), score
        self.state.history[-1] |= {"hr@10": metrics["hr@10"], "ndcg@10": metrics["ndcg@10"]}
        save(self.state, self._checkpoint)
        self._on_round(self.state.history[-1])
        return MetricRecord(dict(metrics))

    def final_adapter(self) -> np.ndarray:
        """What is released: best on validation (non-private), else averaged, else last."""
        if self.state.best_score >= 0:
            return self.state.best
        if self.state.averaged:
            mean = self.state.average / self.state.averaged
            return self._rule.leave(self.schema, mean, self.state.adapter)
        return self.state.adapter

    def evaluate(self, grid: Grid, adapter: np.ndarray, phase: str) -> dict[str, float]:
        """Ranking metrics over `data.evaluated_users`: evaluator only, not released."""
        nodes = self._asked(grid)
        messages = self._ask_ranks(nodes, self.arrays(adapter), phase, self.state.round_number)
        replies = Replies(grid.send_and_receive(messages), nodes, self._merge)
        return ranking_metrics(*replies.ranks())

    def _asked(self, grid: Grid) -> list[int]:
        """The nodes whose held-out items are ranked: all of them, or evenly spread ones."""
        nodes = node_ids(grid)
        return [nodes[i] for i in evaluated_users(len(nodes), self.config.data.evaluated_users)]

    def _ask_ranks(
        self, nodes: list[int], arrays: ArrayRecord, phase: str, round_number: int
    ) -> list[Message]:
        return requests(
            nodes,
            MessageType.EVALUATE,
            self._settings,
            round_number=round_number,
            users=self._sampler.users,
            merge=self._merge,
            arrays=sent(self._rule, _plain(arrays)),
            schema=self.schema.digest,
            phase=phase,
        )

    def arrays(self, adapter: np.ndarray) -> ArrayRecord:
        """A flat adapter [dim] as the named float32 arrays that travel."""
        return ArrayRecord(
            {name: Array(array) for name, array in self.schema.split(adapter).items()}
        )


def _plain(arrays: ArrayRecord) -> Arrays:
    return {name: array.numpy() for name, array in arrays.items()}
