"""One federated round, top to bottom in the order in which it happens.

    1. sample     S_t: every user independently with probability q, or by turns (dp_ftrl)
    2. send       theta_t to S_t
    3. combine    sum over i in S_t of what each clipped (under local trust: and noised) itself
    4. record     the event in the ledger, flushed to disk, before anything is released
    5. noise      + z C N(0, I), C of this round where it adapts (`server.release.clipping`), or the
                  round's row of correlated noise (dp_ftrl);
                  under local trust steps 4 and 5 happened on the devices
    6. average    / (q N), the expected cohort: every client weighs the same
    7. step       Flower's server optimiser, on what the round trained
    8. keep       average of iterates; best on validation (without noise), or by a private metric
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
from server.cohort.sampling import Sampler, node_ids
from server.exchange import Exchange
from server.messages import Replies, point_settings, requests
from server.optimizer import SQUARES, ServerOptimizer
from server.release.clipping import RoundClip
from server.release.metrics import PrivateMetrics
from server.release.releases import Releasing
from server.run_policy import check_holds
from server.secagg.opening import norms, opened
from shared.aggregation import Carried, rule_of
from shared.aggregation.travel import sent
from shared.config import ExperimentConfig
from shared.data.split import evaluated_users
from shared.errors import ConfigError, ProtocolError
from shared.metrics import ranking_metrics
from shared.model.adapter import AdapterSchema
from shared.privacy.contribution.units import devices_add_noise, update_limit
from shared.update import Arrays, Update

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
    sampler : Sampler
    releases : Releasing
        Mechanisms, ledger and noise: the only way from a sum to a released one.
    metrics : PrivateMetrics
    checkpoint : Path
        Written after every round.
    on_round : callable
        Told of every completed round.
    merge : bool
        Whether one reply may sum several clients; see `server.messages.Replies`.
    policy : str
        The signed policy of the point, sent with every request.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        schema: AdapterSchema,
        state: ServerState,
        sampler: Sampler,
        releases: Releasing,
        metrics: PrivateMetrics,
        checkpoint: Path,
        on_round: Callable[[RoundEntry], None],
        *,
        merge: bool,
        policy: str,
    ) -> None:
        self.config = config
        self.schema = schema
        self.state = state
        self._sampler = sampler
        self._releases = releases
        self._metrics = metrics
        self._clip = RoundClip(config, state)
        self._checkpoint = checkpoint
        self._on_round = on_round
        self._merge = merge
        self._policy = policy
        self._settings = point_settings(config)
        self._rule = rule_of(config)
        self._shares = releases.shares("update")
        if self._shares is not None and not self._rule.linear:
            raise ConfigError(
                f"federation.aggregation = {config.federation.aggregation} does not go with "
                "privacy.trust = distributed: the server sees a sum of updates only; use a linear "
                "rule, such as fedit"
            )
        self._word_bytes = self._shares.ring.words.itemsize if self._shares else 4
        self._optimizer = ServerOptimizer(config.federation)
        self._optimizer.restore(state.optimizer)
        self._offset = state.round_number  # Flower counts rounds from 1 also after a resumption
        self._cohort: list[int] = []
        self._exchange = Exchange(self._rule, schema, 1, [])  # until the first round
        self._evaluated: list[int] = []

    def summary(self) -> None:
        """Nothing to log: the settings are in the point's own file."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Steps 1 and 2: sample the cohort, address it."""
        round_number = self._offset + server_round
        check_holds(self._policy, round_number)
        nodes = node_ids(grid)
        self._cohort = self._sampler.draw(round_number, nodes)
        self._releases.announce("update", round_number)
        if self._shares is not None and len(self._cohort) < self._shares.survivors:
            self._cohort = []  # too few to noise their sum: nobody is asked
        people = nodes if self._merge else None  # a simulation's nodes are its people
        exchange = self._exchange = Exchange(
            self._rule, self.schema, round_number, self._cohort, people
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
                policy=self._policy,
                clip=self._clip.adapted,
            )
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Steps 3 to 10: combine, record, noise, average, step, keep, refactor, checkpoint."""
        round_number = self._offset + server_round
        exchange = self._exchange
        checked = self._checked(replies, self._cohort, round_number, self._rule.linear)
        total = self._rule.combine(self._updates(checked, exchange), exchange.summed.dim)
        # All may have declined, or gone silent as simulated devices do: then nobody took part.
        silent = not checked.failures and (devices_add_noise(self.config) or bool(checked.declined))
        if self._cohort and not checked.answered and not silent:
            raise ProtocolError(f"round {round_number}: no update counted: {checked.failures[:1]}")
        noised = total
        if self._is_noised(checked):  # else nothing was opened: the round is spent and skipped
            bits, expected = checked.bits, self._sampler.expected
            noised = self._clip.release(self._releases, total, bits, expected, round_number)
            self.state.adapter = self._step(round_number, noised / expected, exchange.summed)
        self.state.round_number = round_number
        self.state.ledger = self._releases.position()
        self.state.bytes_up += exchange.bytes_up(checked.answered, self._word_bytes)
        self._keep_average(round_number)
        self._refactor()
        signal, noise = (float(np.linalg.norm(of)) for of in (total, noised - total))
        if self._shares is not None:
            signal, noise = norms(total, self._shares, len(checked.answered))
        # A deployment must not publish these: cohort size and exact norms are not noised.
        entry = {
            "round": float(round_number),
            "participants": float(len(checked.answered)),
            "failures": float(len(checked.failures)),
            "signal_norm": signal,
            "noise_norm": noise,
        }
        self.state.history.append(entry)
        if not (self._merge and self._measures(round_number)):
            # Else one checkpoint covers step and selection: a simulation repeats both alike.
            save(self.state, self._checkpoint)
        self._on_round(entry)
        return self.arrays(self.state.adapter), MetricRecord({"participants": len(self._cohort)})

    def _updates(self, checked: Replies, exchange: Exchange) -> Iterable[Update]:
        """What the cohort sent; where noise comes in shares its sum, if enough noised it."""
        summed = exchange.summed
        if self._shares is None:
            limit = update_limit(self.config, self._clip.adapted)
            each = exchange.opener(self.schema.split(self.state.adapter), limit)
            return checked.updates(summed.digest, summed.dim, limit, opened=each)
        messages = checked.updates(summed.digest, summed.dim, None, self._shares.ring)
        return opened(messages, self._shares)

    def _is_noised(self, checked: Replies) -> bool:
        return self._shares is None or len(checked.answered) >= self._shares.survivors

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

    def _measures(self, round_number: int) -> bool:
        return self._validates(round_number) or self._metrics.due(round_number)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Exact validation on non-private points only; private metrics where they are agreed."""
        round_number = self._offset + server_round
        self._evaluated = []
        if self._metrics.due(round_number):
            return self._ask_metrics(grid, arrays, round_number)
        if not self._validates(round_number):
            return []
        self._evaluated = self._asked(grid)
        return self._ask_ranks(self._evaluated, arrays, "validation", round_number)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Keep the iterate with the best validation HR@10 + NDCG@10, where that selects."""
        if self._metrics.due(self._offset + server_round):
            self._take_metrics(replies, self.state.adapter, self._offset + server_round)
            return None
        if not self._evaluated:
            return None
        checked = self._checked(replies, self._evaluated, self._offset + server_round)
        metrics = ranking_metrics(*checked.ranks())
        self._prefer(self.state.adapter, metrics["hr@10"] + metrics["ndcg@10"])
        self.state.history[-1] |= {"hr@10": metrics["hr@10"], "ndcg@10": metrics["ndcg@10"]}
        save(self.state, self._checkpoint)
        self._on_round(self.state.history[-1])
        return MetricRecord(dict(metrics))

    def _prefer(self, adapter: np.ndarray, score: float) -> None:
        if self._rule.personal(self.schema.names):
            return  # what devices keep goes with the last iterate alone
        if score > self.state.best_score:
            self.state.best, self.state.best_score = adapter.copy(), score

    def _ask_metrics(self, grid: Grid, arrays: ArrayRecord, round_number: int) -> list[Message]:
        check_holds(self._policy, round_number)
        nodes, down = node_ids(grid), sent(self._rule, _plain(arrays))
        return self._metrics.ask(nodes, down, self.schema.digest, round_number)

    def _take_metrics(
        self, replies: Iterable[Message], adapter: np.ndarray, round_number: int
    ) -> None:
        score = self._metrics.take(replies, round_number)
        if self._metrics.selects:
            self._prefer(adapter, score)
        self.state.ledger = self._releases.position()
        save(self.state, self._checkpoint)

    def finish(self, grid: Grid) -> np.ndarray:
        """The released adapter [dim], privately measured where that is agreed."""
        if self._metrics.due_at_the_end:
            last, number = self._last(), self.config.federation.rounds
            messages = self._ask_metrics(grid, self.arrays(last), number)
            self._take_metrics(grid.send_and_receive(messages), last, number)
        return self.final_adapter()

    def final_adapter(self) -> np.ndarray:
        """What is released: the best, where iterates were selected, else averaged, else last."""
        return self.state.best if self.state.best_score >= 0 else self._last()

    def _last(self) -> np.ndarray:
        if self.state.averaged:
            mean = self.state.average / self.state.averaged
            return self._rule.leave(self.schema, mean, self.state.adapter)
        return self.state.adapter

    def evaluate(self, grid: Grid, adapter: np.ndarray, phase: str) -> dict[str, float]:
        """Ranking metrics over `data.evaluated_users`: evaluator only, not released."""
        nodes = self._asked(grid)
        messages = self._ask_ranks(nodes, self.arrays(adapter), phase, self.state.round_number)
        replies = grid.send_and_receive(messages)
        checked = self._checked(replies, nodes, self.state.round_number)
        return ranking_metrics(*checked.ranks())

    def _checked(
        self, replies: Iterable[Message], asked: list[int], round_number: int, merge: bool = True
    ) -> Replies:
        merged = merge and self._merge
        return Replies(replies, asked, merged, round_number=round_number, policy=self._policy)

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
            policy=self._policy,
        )

    def arrays(self, adapter: np.ndarray) -> ArrayRecord:
        """A flat adapter [dim] as the named float32 arrays that travel."""
        return ArrayRecord(
            {name: Array(array) for name, array in self.schema.split(adapter).items()}
        )


def _plain(arrays: ArrayRecord) -> Arrays:
    return {name: array.numpy() for name, array in arrays.items()}
