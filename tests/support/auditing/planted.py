"""Mistakes that an implementation could have, put into the product's code from outside.

Each is what somebody might write; none is known to the auditor.
"""

import hashlib
import json
import math

import numpy as np
import torch

import client.training.examples
import server.cohort.sampling
import server.federation
import server.round
import shared.privacy.mechanisms.distributed
import shared.privacy.plan.terms
import simulations.engine.cohort
from server.cohort.participation import LeastRecent, Participations
from server.cohort.sampling import PoissonSampler
from server.messages import Replies
from server.release.releases import Releases
from shared.aggregation.rule import AggregationRule
from shared.data.population import history_of
from shared.privacy.accounting import accountant, pld
from shared.privacy.contribution.bound import bounded
from shared.privacy.contribution.clipping import L2Clip
from shared.privacy.guarantee import Guarantee
from shared.privacy.ledger.budget import DeviceBudget
from shared.privacy.mechanisms.correlated import CorrelatedNoise
from shared.privacy.mechanisms.gaussian import GaussianMechanism
from shared.privacy.mechanisms.source import NoiseSource
from simulations.flower.grid import key_of


class Scaled:
    """A source whose numbers are smaller than they should be."""

    def __init__(self, source, by):
        self._source, self._by = source, by

    def normal(self, size):
        return self._source.normal(size) * self._by


def half_the_noise(patch, replay):
    half = property(lambda self: self.noise_multiplier * self.clip.norm / 2)
    patch.setattr(GaussianMechanism, "standard_deviation", half)


def noise_for_the_mean(patch, replay):
    """Noise of the mean's size on the sum, which is divided afterwards."""
    drawn = Releases._noise
    expected = replay.config.federation.expected_cohort(len(replay.population))

    def noise(self, kind, round_number):
        source = drawn(self, kind, round_number)
        return Scaled(source, 1 / expected) if kind == "update" else source

    patch.setattr(Releases, "_noise", noise)


def clip_after_the_sum(patch, replay):
    added = AggregationRule.combine
    clip = L2Clip(replay.config.privacy.clipping_norm)

    def combine(self, updates, dim):
        return clip(torch.from_numpy(added(self, updates, dim))).numpy()

    free = lambda deltas, config, adapted=0.0: (deltas, deltas.new_zeros(deltas.shape[:-1]))  # noqa: E731
    patch.setattr(AggregationRule, "combine", combine)
    patch.setattr(simulations.engine.cohort, "bounded", free)
    patch.setattr(server.round, "update_limit", lambda config, adapted: None)


def clip_of_each_layer(patch, replay):
    """Every tensor to the norm that is accounted for all of them together."""
    schema, norm = replay.schema, replay.config.privacy.clipping_norm
    clip = L2Clip(norm)

    def bounded(deltas, config, adapted=0.0):
        parts = [clip(deltas[..., schema.slice_of(name)]) for name in schema.names]
        return torch.cat(parts, dim=-1), deltas.new_zeros(deltas.shape[:-1])

    most = norm * math.sqrt(len(schema.names))
    patch.setattr(simulations.engine.cohort, "bounded", bounded)
    patch.setattr(server.round, "update_limit", lambda config, adapted: most)


def a_round_with_twice_the_clip(patch, replay):
    """As a setting that is read anew in every round, and was changed for one of them."""
    engine, right, asked = simulations.engine.cohort.CohortEngine, bounded, []
    trained, far = engine._trained, L2Clip(2 * replay.config.privacy.clipping_norm)

    def training(self, request, *rest):
        asked[:] = [request.round_number]
        yield from trained(self, request, *rest)

    def bounding(deltas, config, adapted=0.0):
        found = right(deltas, config, adapted)
        return (far(deltas), found[1]) if asked == [2] else found

    patch.setattr(engine, "_trained", training)
    patch.setattr(simulations.engine.cohort, "bounded", bounding)
    patch.setattr(server.round, "update_limit", lambda config, adapted: None)


def weights_by_interactions(patch, replay):
    """As federated averaging weighs: by how much each client has."""
    people = replay.population
    counts = {key: len(history_of(people, key)) for key in people.keys}
    mean = sum(counts.values()) / len(counts)
    read = Replies.updates

    def updates(self, *about, **more):
        for update in read(self, *about, **more):
            update.vector[:] = update.vector * (counts[key_of(self.latest)] / mean)
            yield update

    patch.setattr(Replies, "updates", updates)
    patch.setattr("server.messages._read_update", _writable(server.messages._read_update))


def _writable(read):
    def reading(content, dim):
        update = read(content, dim)
        return type(update)(**{**vars(update), "vector": np.array(update.vector)})

    return reading


def the_same_noise_every_round(patch, replay):
    def noise(self, kind, round_number):
        return NoiseSource.seeded(self._seed, self.ledger.header.settings)

    patch.setattr(Releases, "_noise", noise)


def a_round_off_the_ledger(patch, replay):
    """As a resumed run might: what seems to be recorded is not recorded again."""
    recorded = Releases._record

    def record(self, planned, round_number):
        if (planned.kind, round_number) != ("update", 2):
            recorded(self, planned, round_number)

    patch.setattr(Releases, "_record", record)


def a_cohort_of_fixed_size(patch, replay):
    def draw(self, round_number, nodes):
        if self.probability == 1:
            return list(nodes)
        random = np.random.default_rng((self._stream, self._seed, round_number))
        return sorted(random.choice(nodes, round(self.expected), replace=False).tolist())

    patch.setattr(PoissonSampler, "draw", draw)


def a_metric_as_it_is(patch, replay):
    noised = Releases.release

    def release(self, kind, total, round_number):
        found = noised(self, kind, total, round_number)
        return total if kind == "metrics" else found

    patch.setattr(Releases, "release", release)


def half_the_sensitivity(patch, replay):
    """What replaces a person moves a sum by two clips, and is counted as one."""

    def guarantee(**told):
        return Guarantee(**{**told, "relation": "replace_one"})

    for counted in (pld.pld_epsilon, accountant.calibrate):
        counted.cache_clear()
    patch.setattr(shared.privacy.plan.terms, "Guarantee", guarantee)
    patch.setitem(pld._RELATION, "replace_one", pld._RELATION["zero_out"])


def the_same_noise_on_every_device(patch, replay):
    """A seed for all: each device's generator starts alike."""

    def budget(self, plan, client):
        return DeviceBudget(client.ledger, plan, self._settings, (self._config.seed, 0))

    patch.setattr(client.training.examples.ExampleTraining, "_budget", budget)


def shares_for_all_who_were_asked(patch, replay):
    """Shares of noise that add up to enough only if nobody drops out."""

    def share(noise_multiplier, counted, l2_squared):
        return max(1, math.ceil(noise_multiplier**2 * l2_squared / counted.devices))

    patch.setattr(shared.privacy.mechanisms.distributed, "_share", share)
    shared.privacy.mechanisms.distributed._grid.cache_clear()


def a_draw_by_place_in_the_log(patch, replay):
    drawn = server.cohort.sampling.words
    by_place = lambda nodes, *context: drawn(range(len(nodes)), *context)  # noqa: E731
    patch.setattr(server.cohort.sampling, "words", by_place)


def a_hash_of_what_was_summed(patch, replay):
    """A fingerprint that is told with the run, of norms without noise."""
    told = server.federation._outcome

    def outcome(config, run, initial):
        text = json.dumps(run.state.history)
        return told(config, run, initial) | {"digest": hashlib.sha256(text.encode()).hexdigest()}

    patch.setattr(server.federation, "_outcome", outcome)


def half_the_correlated_noise(patch, replay):
    half_the_noise(patch, replay)


def noise_of_each_round_alone(patch, replay):
    """Rows of Z, not of C^-1 Z: what rounds release together has other noise."""
    patch.setattr(CorrelatedNoise, "row", lambda self, number: self._independent(number))


def turns_that_nobody_counts(patch, replay):
    """A cohort drawn anew every round, and a record that says yes to everybody."""

    def choose(self, round_number, people, record):
        random = np.random.default_rng((self._seed, round_number))
        return sorted(random.choice(len(people), self._quota(round_number), replace=False).tolist())

    patch.setattr(LeastRecent, "choose", choose)
    patch.setattr(Participations, "may", lambda self, who, round_number: True)


def forget():
    """Leave no figure behind that was made under a mistake."""
    for cached in (
        pld.pld_epsilon,
        accountant.calibrate,
        shared.privacy.mechanisms.distributed._grid,
    ):
        cached.cache_clear()
