"""PFedRec: shared item embeddings, a score function and embeddings of every person's own; no noise.

Every round each device starts from the server's item embeddings, takes one epoch over its training
items and four random others for each (its score function steps first, then its embeddings), and the
server averages the embeddings. A person is ranked by their own. All start alike and advance side
by side.

References
----------
Zhang, Long, Zhou, Yan, Zhang, Zhang, Yang. Dual Personalization on Federated Recommendation. IJCAI
2023. https://arxiv.org/abs/2301.08143
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csr_matrix

from peers.anchors import Rows, Score, Table

RANK, NEGATIVES, BATCH, RATE, ITEM_RATE = 32, 4, 256, 0.1, 80.0  # as published


def rounds(train: csr_matrix, spared: csr_matrix, count: int, seed: int) -> Iterator[Score]:
    """How it scores after each round; what is spared is never drawn as a negative."""
    people, items = train.shape
    rng, draw = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    shared = torch.randn(items, RANK, generator=draw)
    heads = ((2 * torch.rand(1, RANK, generator=draw) - 1) * RANK**-0.5).repeat(people, 1)
    biases = torch.zeros(people)
    for _ in range(count):
        own = shared.repeat(people, 1, 1)
        for who, which, wanted in _batches(train, spared, rng):
            _step(own, heads, biases, (who, which, wanted))
        shared = own.mean(dim=0)

        def score(contexts: csr_matrix, rows: Rows, own: torch.Tensor = own) -> Table:
            found = torch.einsum("uir,ur->ui", own[rows], heads[rows]) + biases[rows, None]
            return found.numpy().astype(np.float64)

        yield score


_Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _step(own: torch.Tensor, heads: torch.Tensor, biases: torch.Tensor, batch: _Batch) -> None:
    """One batch of every device that still has one: mean cross-entropy, gradients by hand."""
    who, which, wanted = batch  # [devices], [devices, BATCH] and labels, -1 where padded
    real = (wanted >= 0).float()
    share = real / real.sum(dim=1, keepdim=True)

    def slopes(vectors: torch.Tensor) -> torch.Tensor:
        logits = torch.einsum("ubr,ur->ub", vectors, heads[who]) + biases[who, None]
        return (torch.sigmoid(logits) - wanted) * share

    vectors = own[who[:, None], which]
    slope = slopes(vectors)
    heads[who] -= RATE * torch.einsum("ub,ubr->ur", slope, vectors)
    biases[who] -= RATE * slope.sum(dim=1)
    moved = slopes(vectors)[..., None] * heads[who][:, None]
    flat = (who[:, None] * own.shape[1] + which).flatten()
    rate = RATE * own.shape[1] * ITEM_RATE
    own.view(-1, RANK).index_add_(0, flat, moved.reshape(-1, RANK), alpha=-rate)


def _batches(train: csr_matrix, spared: csr_matrix, rng: np.random.Generator) -> Iterator[_Batch]:
    """Everyone's next batch, those first who have most."""
    examples = []
    for user in range(train.shape[0]):
        mine = train.indices[train.indptr[user] : train.indptr[user + 1]]
        unseen = np.flatnonzero(spared[[user]].toarray()[0] == 0)
        which = np.concatenate([mine, rng.choice(unseen, NEGATIVES * len(mine))])
        wanted = np.repeat([1.0, 0.0], [len(mine), NEGATIVES * len(mine)])
        order = rng.permutation(len(which))
        examples.append((which[order], wanted[order]))
    for start in range(0, max(len(which) for which, _ in examples), BATCH):
        who = [user for user, (which, _) in enumerate(examples) if len(which) > start]
        which, wanted = np.zeros((len(who), BATCH), np.int64), np.full((len(who), BATCH), -1.0)
        for row, user in enumerate(who):
            for table, all_of in zip((which, wanted), examples[user], strict=True):
                some = all_of[start : start + BATCH]
                table[row, : len(some)] = some
        yield torch.tensor(who), torch.from_numpy(which), torch.from_numpy(wanted).float()
