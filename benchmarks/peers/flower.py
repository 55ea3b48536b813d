"""Flower's simulation as its users write it: a ClientApp that trains, FedAvg, Ray.

`cached` keeps one model per actor, `naive` builds it for every message.
"""

from __future__ import annotations

import logging
import time
import warnings
from functools import lru_cache
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import Tensor
from work import RATE, SIZES, Work

from peers import Cohorts, Done
from peers.sequential import loss_of, trained
from shared.model.adapter import AdapterSchema
from shared.model.recommender import Recommender


@lru_cache
def people(size: str) -> Work:
    """What the actor knows of the data."""
    return Work(size)


@lru_cache
def kept(size: str) -> Recommender:
    """The actor's model."""
    return people(size).recommender()


def client(keep: bool) -> ClientApp:
    """One SGD step on the data of the user that the message names."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del context
        config: Any = message.content["config"]
        size, user = config["size"], config["user"]
        model = kept(size) if keep else people(size).recommender()
        arrays: Any = message.content["arrays"]
        model.load_state_dict(arrays.to_torch_state_dict(), strict=False)
        optimizer = torch.optim.SGD(trained(model), lr=RATE)
        inputs, targets = people(size).batch(user)
        optimizer.zero_grad()
        loss_of(model, inputs, targets).backward()
        optimizer.step()
        moved = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        reply = RecordDict(
            {"arrays": ArrayRecord(moved), "metrics": MetricRecord({"num-examples": 1})}
        )
        return Message(content=reply, reply_to=message)

    return app


class Rounds(FedAvg):
    """FedAvg with a given cohort for every round: node i gets its i-th user."""

    def __init__(self, work: Work, size: str, cohorts: Cohorts, done: Done) -> None:
        super().__init__(fraction_evaluate=0.0)
        self.size, self.cohorts, self.done = size, cohorts, done
        self.schema = AdapterSchema.of(work.recommender()).trainable
        self.start_from = work.adapter(self.schema)

    def initial(self) -> ArrayRecord:
        """The adapter that everybody starts from."""
        return ArrayRecord(self.schema.unflatten(self.start_from))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """A message for every user of the cohort."""
        users = self.cohorts[server_round - 1]
        while len(nodes := sorted(grid.get_node_ids())) < len(users):
            time.sleep(0.01)  # they register as the simulation starts
        self.users = dict(zip(nodes, users, strict=False))
        messages = []
        for node, user in self.users.items():
            told = ConfigRecord({"size": self.size, "user": user})
            record = RecordDict({"arrays": arrays, "config": told})
            messages.append(Message(content=record, message_type="train", dst_node_id=node))
        return messages

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        """As FedAvg does; then the round is done."""
        replies = list(replies)
        found = super().aggregate_train(server_round, replies)
        failed = [reply.error.reason for reply in replies if reply.has_error()]
        if failed or len(replies) < len(self.users):
            raise RuntimeError(f"{len(failed)} clients failed: {failed[:1]}")
        self.done(self._updates(replies) if self.done.wants else None)
        return found

    def _updates(self, replies: list[Message]) -> Tensor:
        by_user = {self.users[r.metadata.src_node_id]: r.content["arrays"] for r in replies}
        rows = []
        for user in sorted(by_user):
            tensors = by_user[user].to_torch_state_dict()
            rows.append(self.schema.flatten(tensors) - self.start_from)
        return torch.stack(rows)


def simulate(work: Work, cohorts: Cohorts, done: Done, keep: bool) -> None:
    """One Flower simulation, a round a cohort."""
    size = next(name for name, found in SIZES.items() if found == work.size)
    strategy = Rounds(work, size, cohorts, done)
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        strategy.start(grid=grid, initial_arrays=strategy.initial(), num_rounds=len(cohorts))

    logging.getLogger("flwr").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    run_simulation(
        server,
        client(keep),
        num_supernodes=max(map(len, cohorts)),
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": 2, "include_dashboard": False, "log_to_driver": False},
        },
    )


def cached(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """Every actor keeps its model."""
    del unit  # it has one
    simulate(work, cohorts, done, keep=True)


def naive(work: Work, unit: str, cohorts: Cohorts, done: Done) -> None:
    """Every message builds a model."""
    del unit  # it has one
    simulate(work, cohorts, done, keep=False)
