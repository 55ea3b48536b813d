"""What a dishonest server or device tries: each attempt, the error that ends it, and the guard."""

import contextlib
import inspect
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from shared import errors
from shared.secagg import aggregator, keys, participant, roster
from shared.secagg.messages import Advert, Agreement, Delivery, Reveal, Shares
from shared.secagg.parameters import parameters
from shared.secagg.participant import Participant, Stage
from shared.secagg.roster import write_quorum, write_roster, write_survivors
from tests.support.privacy import cohorts
from tests.support.privacy.cohorts import STAGES, Cohort, identity, session

NODES = list(range(1, 8))
VICTIM = 4
OLD = session(nonce=b"an earlier round")


class Scene:
    """A cohort at a stage, and what a dishonest server may do there to one device."""

    def __init__(self, stage, about=None, nodes=NODES, **told):
        self.cohort = Cohort(about or session(), list(nodes), **told)
        self.device = self.cohort.participants[VICTIM]
        self.content = self.cohort.run(stage) if stage != "advertise" else None
        self.roster = getattr(self.cohort.aggregator, "_roster", None)

    def adverts(self):
        return {a.node: a for a in map(Advert.read, self.cohort.replies["advertise"].values())}

    def share(self, adverts):
        return self.device.share(write_roster(adverts, self.cohort.session))

    def delivery(self):
        count = len(self.roster.adverts)
        others = [each for each in self.roster.holders(self.me) if each != self.me]
        return Delivery.read(self.content[VICTIM], count, others)

    def mask(self, delivery):
        return self.device.mask(delivery, self.cohort.values[VICTIM])

    @property
    def me(self):
        return self.roster.number_of(VICTIM)

    def sets(self):
        everybody = np.ones(len(self.roster.adverts), np.bool_)
        return everybody, everybody.copy()

    def without(self, *nodes):
        shared, survivors = self.sets()
        survivors[[self.roster.number_of(node) for node in nodes]] = False
        return write_survivors(self.roster, shared, survivors)

    def signed(self, survivors, nodes):
        content = keys.survivors_content(self.cohort.session.digest, survivors)
        return {self.roster.number_of(node): identity(node).sign(content) for node in nodes}


def signed(about, node, key=None, **changes):
    """An advert by whoever has a key, with a colluder's private seeds."""
    shown = (key or identity(node)).public_key().public_bytes_raw()
    seal, mask = (keys.public(keys.mask_private(about.digest, bytes([n] * 16))) for n in (1, 2))
    advert = replace(Advert(node, shown, seal, mask), **changes)
    content = keys.advert_content(about.digest, advert.body)
    return replace(advert, signature=(key or identity(node)).sign(content))


# By the server, at the stage in the name: `device` is asked for what it must not answer.


def share_stale_list(s):
    s.device.share(Cohort(OLD, NODES).run("share"))


def share_replayed_keys(s):
    old = Cohort(OLD, NODES)
    old.run("share")
    s.share(s.adverts() | {2: Advert.read(old.replies["advertise"][2])})


def share_swapped_signature(s):
    found = s.adverts()
    found[2], found[3] = (
        replace(found[one], signature=found[other].signature) for one, other in ((2, 3), (3, 2))
    )
    s.share(found)


def share_another_ring(s):
    other = Cohort(session(bits=12), NODES)
    other.run("share")
    s.share(s.adverts() | {2: Advert.read(other.replies["advertise"][2])})


def share_keys_of_the_server(s):
    s.share(s.adverts() | {2: signed(s.cohort.session, 2, key=identity(99))})


def share_a_stranger(s):
    s.share(s.adverts() | {99: signed(s.cohort.session, 99)})


def share_advert_under_another_node(s):
    s.share(s.adverts() | {99: replace(s.adverts()[2], node=99)})


def share_own_advert_missing(s):
    s.share({node: advert for node, advert in s.adverts().items() if node != VICTIM})


def share_own_advert_of_another_attempt(s):
    again = Participant(s.cohort.session, VICTIM, identity(VICTIM), s.cohort.trusted)
    s.share(s.adverts() | {VICTIM: Advert.read(again.advertise())})


def share_copied_mask_key(s):
    copied = {"mask_key": s.adverts()[VICTIM].mask_key}
    s.share(s.adverts() | {2: signed(s.cohort.session, 2, **copied)})


def share_one_identity_twice(s):
    s.device._trusted = lambda node, shown: True
    s.share(s.adverts() | {99: signed(s.cohort.session, 99, key=identity(2))})


def share_key_that_is_none(s):
    s.share(s.adverts() | {2: signed(s.cohort.session, 2, seal_key=bytes(32))})


def share_unsorted(s):
    data = s.content
    s.device.share(data[:37] + data[37 + 169 : 37 + 2 * 169] + data[37 : 37 + 169] + data[375:])


def share_same_advert_twice(s):
    data = s.content
    s.device.share(data[:33] + (8).to_bytes(4, "big") + data[37 : 37 + 169] + data[37:])


def share_huge_claim(s):
    s.device.share(s.content[:33] + b"\xff" * 4 + s.content[37:])


def share_trailing(s):
    s.device.share(s.content + b"\0")


def share_truncated(s):
    s.device.share(s.content[:-1])


def share_too_few(s):
    found = s.adverts()
    s.share({node: found[node] for node in (1, VICTIM)})


def mask_without_an_envelope(s):
    s.mask(replace(s.delivery(), envelopes=s.delivery().envelopes[1:]).to_bytes())


def mask_truncated_ciphertext(s):
    s.mask(s.content[VICTIM][:-1])


def mask_altered_ciphertext(s):
    data = s.content[VICTIM]
    s.mask(data[:-1] + bytes([data[-1] ^ 1]))


def mask_envelopes_swapped(s):
    one, two, *rest = s.delivery().envelopes
    s.mask(replace(s.delivery(), envelopes=(two, one, *rest)).to_bytes())


def mask_envelope_of_an_earlier_round(s):
    old = Cohort(OLD, NODES)
    spoiled = old.run("mask")[VICTIM][-48:]
    s.mask(replace(s.delivery(), envelopes=(*s.delivery().envelopes[:-1], spoiled)).to_bytes())


def mask_own_envelope_sent_back(s):
    sent = Shares.read(s.cohort.replies["share"][VICTIM], 6).envelopes
    s.mask(replace(s.delivery(), envelopes=sent).to_bytes())


def mask_delivery_of_another_device(s):
    s.mask(s.content[2])


def mask_delivery_of_another_list(s):
    s.mask(replace(s.delivery(), roster=bytes(32)).to_bytes())


def mask_delivery_without_itself(s):
    shared = s.delivery().shared.copy()
    shared[s.me] = False
    s.mask(replace(s.delivery(), shared=shared).to_bytes())


def mask_delivery_of_too_few(s):
    shared = np.zeros(7, np.bool_)
    shared[[0, s.me]] = True
    s.mask(replace(s.delivery(), shared=shared, envelopes=s.delivery().envelopes[:1]).to_bytes())


def mask_beyond_the_cohort(s):
    data = bytearray(s.content[VICTIM])
    data[41] |= 1
    s.mask(bytes(data))


def mask_wrong_ring(s):
    s.device.mask(s.content[VICTIM], np.full(5, 2**20, np.uint32))


def mask_wrong_dim(s):
    s.device.mask(s.content[VICTIM], np.zeros(6, np.uint32))


def mask_a_second_time(s):
    s.mask(s.content[VICTIM])
    s.mask(s.content[VICTIM])


def agree_to_two_sets(s):
    s.device.agree(s.content)
    s.device.agree(s.without(2))


def agree_to_others_who_shared(s):
    shared, survivors = s.sets()
    shared[1] = survivors[1] = False
    s.device.agree(write_survivors(s.roster, shared, survivors))


def agree_to_survivors_that_did_not_share(s):
    shared, survivors = s.sets()
    shared[1] = False
    s.device.agree(write_survivors(s.roster, shared, survivors))


def agree_to_be_dropped(s):
    s.device.agree(s.without(VICTIM))


def agree_to_too_few(s):
    s.device.agree(s.without(1, 2, 3, 7))


def agree_to_another_list(s):
    other = Cohort(session(nonce=b"another attempt!"), NODES).run("agree")
    s.device.agree(other)


def agree_to_isolation(s):
    """In a sparse graph: all that stand beside the device dropped, and nobody else."""
    half, ring = s.roster.parameters.neighbours // 2, s.roster.ring
    place = ring.index(s.me)
    beside = [ring[(place + step) % len(ring)] for step in range(-half, half + 1) if step]
    s.device.agree(s.without(*(s.roster.adverts[each].node for each in beside)))


def reveal_quorum_of_other_survivors(s):
    s.device.agree(s.without())
    others = s.without(1)
    s.device.reveal(write_quorum(s.roster, others, s.signed(others, [2, 3, 4, 5])))


def reveal_signatures_of_another_set(s):
    """Half of them signed another set: neither has a quorum."""
    s.device.agree(s.without())
    mixed = s.signed(s.without(), [4, 5]) | s.signed(s.without(1), [2, 3])
    s.device.reveal(write_quorum(s.roster, s.without(), mixed))


def reveal_to_half_of_them(s):
    s.device.agree(s.without())
    s.device.reveal(write_quorum(s.roster, s.without(), s.signed(s.without(), [4, 5, 6])))


def reveal_to_repeated_signatures(s):
    s.device.agree(s.without())
    (one,) = s.signed(s.without(), [4]).values()
    s.device.reveal(write_quorum(s.roster, s.without(), dict.fromkeys(range(4), one)))


def reveal_to_signatures_of_dropped(s):
    survivors = s.without(1, 2)
    s.device.agree(survivors)
    s.device.reveal(write_quorum(s.roster, survivors, s.signed(survivors, [1, 2, 4, 5])))


def reveal_to_signatures_of_strangers(s):
    s.device.agree(s.without())
    content = keys.survivors_content(s.cohort.session.digest, s.without())
    forged = {each: identity(99).sign(content) for each in range(4)}
    s.device.reveal(write_quorum(s.roster, s.without(), forged))


def reveal_signatures_of_an_earlier_round(s):
    s.device.agree(s.without())
    content = keys.survivors_content(OLD.digest, s.without())
    old = {each: identity(NODES[each]).sign(content) for each in range(4)}
    s.device.reveal(write_quorum(s.roster, s.without(), old))


def reveal_other_shares_afterwards(s):
    """Both shares of one client: of its self mask, then of its mask key, as if it had dropped."""
    s.device.agree(s.without())
    s.device.reveal(write_quorum(s.roster, s.without(), s.signed(s.without(), NODES)))
    s.device.reveal(write_quorum(s.roster, s.without(1), s.signed(s.without(1), NODES)))


def reveal_before_agreeing(s):
    s.device.reveal(write_quorum(s.roster, s.without(), s.signed(s.without(), NODES)))


def advertise_a_second_time(s):
    s.device.advertise()
    s.device.advertise()


def share_before_advertising(s):
    fresh = Participant(s.cohort.session, VICTIM, identity(VICTIM), s.cohort.trusted)
    s.device = fresh
    fresh.share(s.content)


def share_a_second_time(s):
    s.device.share(s.content)
    s.device.share(s.content)


def agree_before_masking(s):
    s.roster = s.cohort.aggregator._roster
    s.device.agree(s.without())


def saved_state_cut(s):
    cut = s.device.save()[:-1]
    s.device = None
    Participant.restore(cut, identity(VICTIM), s.cohort.trusted)


SPARSE = {"about": session(fewest=80, colluding=0.0), "nodes": range(1, 101)}
# Attempt -> stage at which it is made, the error that ends it, what else the scene is of.
BY_SERVER = {
    share_stale_list: ("share", "StaleMessage"),
    share_replayed_keys: ("share", "ForgedSignature"),
    share_swapped_signature: ("share", "ForgedSignature"),
    share_another_ring: ("share", "ForgedSignature"),
    share_keys_of_the_server: ("share", "UnknownIdentity"),
    share_a_stranger: ("share", "UnknownIdentity"),
    share_advert_under_another_node: ("share", "ForgedSignature"),
    share_own_advert_missing: ("share", "InconsistentSets"),
    share_own_advert_of_another_attempt: ("share", "InconsistentSets"),
    share_copied_mask_key: ("share", "ForgedSignature"),
    share_one_identity_twice: ("share", "ForgedSignature"),
    share_key_that_is_none: ("share", "ForgedSignature"),
    share_unsorted: ("share", "MalformedMessage"),
    share_same_advert_twice: ("share", "MalformedMessage"),
    share_huge_claim: ("share", "MalformedMessage"),
    share_trailing: ("share", "MalformedMessage"),
    share_truncated: ("share", "MalformedMessage"),
    share_too_few: ("share", "TooFewDevices"),
    share_before_advertising: ("share", "OutOfOrder"),
    share_a_second_time: ("share", "OutOfOrder"),
    advertise_a_second_time: ("advertise", "OutOfOrder"),
    mask_without_an_envelope: ("mask", "MalformedMessage"),
    mask_truncated_ciphertext: ("mask", "MalformedMessage"),
    mask_altered_ciphertext: ("mask", "SpoiledEnvelope"),
    mask_envelopes_swapped: ("mask", "SpoiledEnvelope"),
    mask_envelope_of_an_earlier_round: ("mask", "SpoiledEnvelope"),
    mask_own_envelope_sent_back: ("mask", "SpoiledEnvelope"),
    mask_delivery_of_another_device: ("mask", "StaleMessage"),
    mask_delivery_of_another_list: ("mask", "StaleMessage"),
    mask_delivery_without_itself: ("mask", "InconsistentSets"),
    mask_delivery_of_too_few: ("mask", "TooFewDevices"),
    mask_beyond_the_cohort: ("mask", "MalformedMessage"),
    mask_wrong_ring: ("mask", "MalformedMessage"),
    mask_wrong_dim: ("mask", "MalformedMessage"),
    mask_a_second_time: ("mask", "OutOfOrder"),
    agree_before_masking: ("mask", "OutOfOrder"),
    agree_to_two_sets: ("agree", "OutOfOrder"),
    agree_to_others_who_shared: ("agree", "InconsistentSets"),
    agree_to_survivors_that_did_not_share: ("agree", "InconsistentSets"),
    agree_to_be_dropped: ("agree", "InconsistentSets"),
    agree_to_too_few: ("agree", "TooFewDevices"),
    agree_to_another_list: ("agree", "StaleMessage"),
    agree_to_isolation: ("agree", "IsolatedDevices", SPARSE),
    reveal_quorum_of_other_survivors: ("agree", "StaleMessage"),
    reveal_signatures_of_another_set: ("agree", "ForgedSignature"),
    reveal_to_half_of_them: ("agree", "TooFewDevices"),
    reveal_to_repeated_signatures: ("agree", "ForgedSignature"),
    reveal_to_signatures_of_dropped: ("agree", "InconsistentSets"),
    reveal_to_signatures_of_strangers: ("agree", "ForgedSignature"),
    reveal_signatures_of_an_earlier_round: ("agree", "ForgedSignature"),
    reveal_other_shares_afterwards: ("agree", "OutOfOrder"),
    reveal_before_agreeing: ("agree", "OutOfOrder"),
    saved_state_cut: ("mask", "MalformedMessage"),
}


def attempt(attack):
    """The error that ends an attempt, None if nothing does; and its scene."""
    stage, _, *about = BY_SERVER[attack]
    scene = Scene(stage, **(about[0] if about else {}))
    try:
        attack(scene)
    except errors.SecureAggregationError as error:
        return error, scene
    return None, scene


@pytest.mark.parametrize("attack", BY_SERVER, ids=lambda attack: attack.__name__)
def test_what_a_server_tries(attack):
    error, scene = attempt(attack)
    assert type(error).__name__ == BY_SERVER[attack][1]
    assert "\n" not in str(error)
    assert len(str(error)) < 160
    if scene.device is not None:  # it has forgotten everything, and answers nothing any more
        assert scene.device.stage is Stage.FINISHED
        assert not any(scene.device._state.parts())
        for stage in STAGES:
            content = {"advertise": (), "mask": (b"", np.zeros(5, np.uint32))}.get(stage, (b"",))
            with pytest.raises(errors.OutOfOrder):
                getattr(scene.device, stage)(*content)


def test_rounds_after_attempts_are_as_any_other():
    """All attempts one after the other in this process, then a round of the same devices."""
    for attack in BY_SERVER:
        attempt(attack)
    cohort = Cohort(session(), NODES)
    assert np.array_equal(cohort.run(), cohort.plain())


# Guard, as it stands in a module -> without it; the attempts that it alone stops.
GUARDS = {
    "signatures of adverts": (
        (roster, "        advert.verify(session.digest)", "        pass"),
        (share_replayed_keys, share_swapped_signature, share_another_ring),
    ),
    "identities": (
        (participant, "if not self._trusted(advert.node, advert.identity):", "if False:"),
        (share_keys_of_the_server, share_a_stranger),
    ),
    "one's own advert": (
        (participant, "if me < 0 or roster.adverts[me].to_bytes() != state.advert:", "if False:"),
        (share_own_advert_of_another_attempt,),
    ),
    "keys shown twice": (
        (roster, "if len(set(several)) < len(several):", "if False:"),
        (share_copied_mask_key, share_one_identity_twice),
    ),
    "order and once": (
        (participant, "if done != stage - 1:", "if False:"),
        (agree_to_two_sets,),
    ),
    "who shared": (
        (participant, "if members(shared) != state.shared:", "if False:"),
        (agree_to_others_who_shared,),
    ),
    "itself among the survivors": (
        (participant, "if not survived[me]:", "if False:"),
        (agree_to_be_dropped,),
    ),
    "windows": (
        (roster, "if worst > self.parameters.missing:", "if False:"),
        (agree_to_isolation,),
    ),
    "fewest": (
        (roster, "    if count < least:", "    if False:"),
        (agree_to_too_few, reveal_to_half_of_them),
    ),
    "signers are survivors": (
        (roster, "if (signed & ~read_survivors(roster, survivors)[1]).any():", "if False:"),
        (reveal_to_signatures_of_dropped,),
    ),
    "signatures of the quorum": (
        (roster, "        keys.verify(advert.identity, signature, content,", "        print("),
        (
            reveal_to_repeated_signatures,
            reveal_to_signatures_of_strangers,
            reveal_signatures_of_another_set,
            reveal_signatures_of_an_earlier_round,
        ),
    ),
}


@contextlib.contextmanager
def planted(monkeypatch, module, old, new):
    """A module of which a line reads otherwise, wherever its names are used."""
    source = inspect.getsource(module)
    assert source.count(old) == 1
    altered = types.ModuleType(module.__name__)
    exec(compile(source.replace(old, new), module.__file__, "exec"), altered.__dict__)
    plain = dict(vars(module))
    with monkeypatch.context() as patch:
        for user in (roster, participant, aggregator, cohorts, sys.modules[__name__]):
            for name, value in list(vars(user).items()):
                if callable(value) and plain.get(name) is value:
                    patch.setattr(user, name, getattr(altered, name))
        yield


@pytest.mark.parametrize("guard", GUARDS)
def test_without_its_guard_an_attempt_succeeds(guard, monkeypatch):
    change, attacks = GUARDS[guard]
    for attack in attacks:
        with planted(monkeypatch, *change):
            error, _ = attempt(attack)
        assert type(error).__name__ != BY_SERVER[attack][1], attack.__name__


# By devices, of which the aggregator has the replies: what one altered does not count.


def reply(stage, node, alter):
    """A scene whose replies at a stage are altered before the aggregator gets them."""

    def altered(cohort):
        plain = cohort.ask

        def ask(asked, content, nodes):
            replies = plain(asked, content, nodes)
            if asked == stage:
                replies[node] = alter(cohort, replies)
            return replies

        cohort.ask = ask

    return altered


def cut(cohort, replies):
    return replies[2][:-1]


def longer(cohort, replies):
    return replies[2] + b"\0"


def of_another(cohort, replies):
    return replies[3]


def text(cohort, replies):
    return "no bytes"


def nothing(cohort, replies):
    return b""


def replayed(stage):
    def alter(cohort, replies):
        old = Cohort(OLD, NODES)
        old.run()
        return old.replies[stage][2]

    return alter


def old_advert(cohort, replies):
    return replayed("advertise")(cohort, replies)


def old_shares(cohort, replies):
    return replayed("share")(cohort, replies)


def old_agreement(cohort, replies):
    return replayed("agree")(cohort, replies)


def old_reveal(cohort, replies):
    return replayed("reveal")(cohort, replies)


def copied_key(cohort, replies):
    copied = Advert.read(replies[1]).mask_key
    return signed(cohort.session, 2, mask_key=copied).to_bytes()


def forged_advert(cohort, replies):
    return replace(Advert.read(replies[2]), mask_key=bytes(range(32))).to_bytes()


def forged_agreement(cohort, replies):
    return replace(Agreement.read(replies[2]), signature=bytes(64)).to_bytes()


def other_survivors(cohort, replies):
    return replace(Agreement.read(replies[2]), survivors=bytes(32)).to_bytes()


def fewer_envelopes(cohort, replies):
    found = Shares.read(replies[2], 6)
    return replace(found, envelopes=found.envelopes[1:]).to_bytes()


def short_shares(cohort, replies):
    found = Reveal.read(replies[2], 7)
    return replace(found, shares=found.shares[1:]).to_bytes()


NOT_COUNTED = [
    *(("advertise", alter) for alter in (cut, longer, of_another, text, nothing, old_advert)),
    *(("advertise", alter) for alter in (copied_key, forged_advert)),
    *(("share", alter) for alter in (cut, longer, of_another, text, nothing, old_shares)),
    ("share", fewer_envelopes),
    *(("agree", alter) for alter in (cut, longer, of_another, text, nothing, old_agreement)),
    *(("agree", alter) for alter in (forged_agreement, other_survivors)),
    *(("reveal", alter) for alter in (cut, longer, of_another, text, nothing, old_reveal)),
    ("reveal", short_shares),
]


@pytest.mark.parametrize(("stage", "alter"), NOT_COUNTED)
def test_what_a_device_tries_does_not_count(stage, alter):
    cohort = Cohort(session(), NODES)
    reply(stage, 2, alter)(cohort)
    if stage in ("advertise", "share"):
        cohort.gone[2] = STAGES[STAGES.index(stage) + 1]  # it has no part in what follows
    total = cohort.run()
    assert np.array_equal(total, cohort.plain())
    (failure,) = cohort.aggregator.failures
    assert failure.startswith("node 2: ")
    assert (2 in cohort.replies["mask"]) is (stage in ("agree", "reveal"))


def test_masked_input_counts_once_and_from_who_shared():
    cohort = Cohort(session(), NODES, {1: "share"})
    cohort.run("mask")
    server, sent = cohort.aggregator, cohort.sent["mask"]
    inputs = {n: cohort.participants[n].mask(sent[n], cohort.values[n]) for n in NODES[1:]}
    assert server.add(2, inputs[2])
    for node, false in (
        (2, inputs[2]),  # replayed
        (1, inputs[2]),  # did not share
        (99, inputs[2]),
        (3, inputs[3][:-1]),
        (3, inputs[3].astype(np.uint64)),
        (3, inputs[3] | np.uint32(2**20)),  # a larger ring
        (3, inputs[3].astype(np.float32)),
        (3, np.zeros((5, 1), np.uint32)),
    ):
        assert not server.add(node, false)
    assert [line.split(":")[0] for line in server.failures] == [
        f"node {node}" for node in (2, 1, 99, 3, 3, 3, 3, 3)
    ]
    for node in NODES[2:]:
        assert server.add(node, inputs[node])
    cohort.replies["mask"] = inputs
    cohort.sent["agree"] = server.survivors()
    for stage in ("agree", "reveal"):
        cohort.step(stage)
    assert np.array_equal(server.total(cohort.replies["reveal"]), cohort.plain())


def false_share(cohort, replies):
    found = Reveal.read(replies[2], 7)
    return replace(found, shares=tuple(bytes(16) for _ in found.shares)).to_bytes()


def test_false_shares_are_left_out_where_others_suffice():
    cohort = Cohort(session(), NODES)
    reply("reveal", 2, false_share)(cohort)
    assert np.array_equal(cohort.run(), cohort.plain())


def test_false_shares_without_others_to_spare_open_nothing():
    cohort = Cohort(session(), NODES, dict.fromkeys((5, 6, 7), "reveal"))
    reply("reveal", 2, false_share)(cohort)
    with pytest.raises(errors.SpoiledShares, match="4 shares of one seed do not give it"):
        cohort.run()


def test_a_false_commitment_opens_nothing():
    cohort = Cohort(session(), NODES)

    def false(cohort, replies):
        return replace(Shares.read(replies[2], 6), commitment=bytes(32)).to_bytes()

    reply("share", 2, false)(cohort)
    with pytest.raises(errors.SpoiledShares):
        cohort.run()


def test_a_share_for_another_key_than_was_advertised_opens_nothing(monkeypatch):
    """A device shares another seed than its mask key's, and drops out."""
    cohort = Cohort(session(), NODES, {2: "mask"})
    cohort.run("share")
    device = cohort.participants[2]
    plain = device._sealed

    def sealed(roster, me):
        device._state.mask_seed = bytes(16)
        return plain(roster, me)

    monkeypatch.setattr(device, "_sealed", sealed)
    for stage in STAGES[1:]:
        cohort.step(stage)
    with pytest.raises(errors.SpoiledShares):
        cohort.aggregator.total(cohort.replies["reveal"])


def test_the_aggregator_keeps_its_order():
    server = Cohort(session(), NODES).aggregator
    for early in (
        lambda: server.deliveries({}),
        lambda: server.add(1, np.zeros(5, np.uint32)),
        server.survivors,
        lambda: server.quorum({}),
        lambda: server.total({}),
    ):
        with pytest.raises(errors.OutOfOrder):
            early()


def test_no_set_but_one_can_have_a_quorum():
    """Colluders sign for two sets; honest devices once. Two halves cannot both be enough."""
    for cohort in range(2, 300):
        for colluding in (0, 0.1, 0.25, 0.49):
            found = parameters(cohort, 2, colluding)
            honest = cohort - found.colluders
            most = max(min(one, honest - one) + found.colluders for one in range(honest // 2 + 1))
            assert most < found.quorum
