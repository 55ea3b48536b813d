"""A device's part in secure sums: each stage once, of its own sum, however often it is asked."""

import threading
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.device.staged import Stages
from client.secagg.identity import identity_of, roster, simulated_identity
from client.secagg.masking import Masking
from client.secagg.turns import FILE, OnDisk
from shared.errors import ConfigError, OutOfOrder, ProtocolError
from shared.privacy.plan.summed import summed_form
from shared.request import Request
from shared.secagg.aggregator import Aggregator
from shared.secagg.participant import Stage
from shared.secagg.session import Session
from tests.support.asking import asked
from tests.support.federations import point_config

USERS = 12


@pytest.fixture(params=["central", "distributed"])
def config(request):
    trust = {"trust": request.param}
    return point_config(
        "b", privacy=trust, federation={"secure_aggregation": "auto", "cohort": 1.0}
    )


def session_of(request, **changed):
    form = summed_form(request.config, request.users, request.release, request.clip)
    colluding = request.config.privacy.colluding
    made = Session(request.about, bytes(16), form.ring.bits, 7, form.fewest, colluding)
    return replace(made, **changed)


def keys(config, release="update", number=1, **changed):
    about = asked(config, release, number, users=USERS)
    stage = replace(about, stage="keys", content=about.digest)
    return replace(stage, sealed=session_of(about, **changed).to_bytes())


def masking(folder, **arguments):
    return Masking(3, identity_of(folder), {}, turns=OnDisk(folder), **arguments)


OTHERS = {
    "another release's": {"context": b"other"},
    "of more bits": {"bits": 33},
    "of fewer": {"fewest": 2},
    "with more in league": {"colluding": 0.4},
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_sum_is_the_one_that_the_settings_make(case, config, tmp_path):
    with pytest.raises(ProtocolError, match="not what the settings say"):
        Stages(masking(tmp_path)).answer(keys(config, **OTHERS[case]))


@pytest.mark.parametrize("changed", [{"round_number": 2}, {"policy": "other"}, {"clip": 0.25}])
def test_a_stage_of_another_sum_ends_the_device_s_part(changed, config, tmp_path):
    own, request = masking(tmp_path), keys(config)
    Stages(own).answer(request)
    with pytest.raises(ProtocolError, match="of another sum"):
        Stages(own).answer(replace(request, stage="seeds", sealed=b"", **changed))
    with pytest.raises(ProtocolError, match="this device is in no sum"):
        Stages(own).answer(replace(request, stage="seeds", sealed=b""))


def test_what_is_sent_as_it_is_has_no_stages(tmp_path):
    config = point_config("b")
    about = asked(config, users=USERS)
    with pytest.raises(ProtocolError, match="is not summed securely here"):
        Stages(masking(tmp_path)).answer(replace(about, stage="keys", sealed=b""))


def test_ranks_are_in_no_sum():
    fields = asked(point_config("b"), users=USERS).fields() | {"release": "ranks", "sealed": b""}
    with pytest.raises(ProtocolError, match="secure sum of 'ranks'"):
        Request.read("query.keys", fields, {})


@pytest.mark.parametrize("sealed", ["text", 5, b"0" * (2**26 + 1)])
def test_what_is_sealed_is_bytes_of_a_bounded_length(sealed):
    fields = asked(point_config("b"), users=USERS).fields()
    fields |= {"release": "update", "sealed": sealed}
    with pytest.raises(ProtocolError, match="sealed: expected at most"):
        Request.read("query.keys", fields, {})


def test_no_two_processes_answer_one_stage(tmp_path):
    """Each with the same memory, as a SuperNode that starts several at once would give them."""
    done, refused = [], []

    def one():
        try:
            OnDisk(tmp_path).take("s", Stage.ADVERTISED)
            done.append(1)
        except OutOfOrder:
            refused.append(1)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (1, 7)


def test_stages_come_once_and_in_their_order_over_restarts(tmp_path):
    for stage in (Stage.ADVERTISED, Stage.SHARED, Stage.MASKED, Stage.AGREED, Stage.FINISHED):
        OnDisk(tmp_path).take("one", stage)
        for again in Stage:
            if again not in (Stage.NEW, stage + 1):
                with pytest.raises(OutOfOrder):
                    OnDisk(tmp_path).take("one", again)
    with pytest.raises(OutOfOrder):
        OnDisk(tmp_path).take("two", Stage.SHARED)
    OnDisk(tmp_path).take("two", Stage.ADVERTISED)
    with pytest.raises(OutOfOrder):
        OnDisk(tmp_path).take("one", Stage.AGREED)


@pytest.mark.parametrize("text", ["", "[]", '{"session": "s"}', "{" * 10_000])
def test_a_record_that_is_none_stops_the_device(text, tmp_path):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ConfigError, match="no record of sums"):
        OnDisk(tmp_path).take("s", Stage.ADVERTISED)


def test_an_identity_is_made_once_and_read_by_its_owner_alone(tmp_path):
    one, again = identity_of(tmp_path), identity_of(tmp_path)
    assert one.private_bytes_raw() == again.private_bytes_raw()
    (tmp_path / "identity.pem").chmod(0o644)
    with pytest.raises(ConfigError, match="can be read by others"):
        identity_of(tmp_path)


def test_virtual_people_have_identities_of_their_own():
    found = {simulated_identity(key).private_bytes_raw() for key in range(100)}
    assert len(found) == 100


def test_a_roster_names_who_counts(tmp_path):
    known = [Ed25519PrivateKey.generate().public_key().public_bytes_raw() for _ in range(3)]
    lines = "# ours\n\n" + "\n".join(f"  {key.hex().upper()}  # of somebody" for key in known)
    (tmp_path / "r.txt").write_text(lines)
    trusted = roster(tmp_path / "r.txt")
    assert all(trusted(node, key) for node, key in enumerate(known))
    assert not trusted(1, bytes(32))


def cohort(config, folder, users=5):
    """Devices that advertised and shared, and what each is delivered."""
    about = asked(config, users=USERS)
    request = keys(config)
    sums = Aggregator(session_of(about))
    devices = {}
    for node in range(users):
        (folder / str(node)).mkdir()
        own = Masking(node, identity_of(folder / str(node)), {}, turns=OnDisk(folder / str(node)))
        devices[node] = own
    keyed = {node: own.letter(request).content for node, own in devices.items()}
    adverts = sums.adverts(keyed)
    seeds = replace(request, stage="seeds", sealed=adverts, content=about.digest)
    shared = {node: own.letter(seeds).content for node, own in devices.items()}
    return about, devices, sums.deliveries(shared)


@pytest.mark.parametrize("spoiled", ["rubbish", "another's", "cut", "a bit"])
def test_what_would_be_refused_is_refused_before_anything_is_recorded(spoiled, tmp_path):
    config = few()
    about, devices, deliveries = cohort(config, tmp_path)
    whole = deliveries[0]
    sealed = {
        "rubbish": b"rubbish",
        "another's": deliveries[1],
        "cut": whole[:-1],
        "a bit": whole[:-1] + bytes([whole[-1] ^ 1]),
    }[spoiled]
    with pytest.raises(ProtocolError):
        devices[0].examine(replace(about, sealed=sealed))
    with pytest.raises(ProtocolError, match="in no sum"):  # it forgot its keys
        devices[0].examine(replace(about, sealed=whole))
    devices[1].examine(replace(about, sealed=deliveries[1]))
    devices[1].examine(replace(about, sealed=deliveries[1]))  # changes nothing


def few():
    """Settings under which five of twelve may be in a sum."""
    federation = {"secure_aggregation": "auto", "cohort": 1.0}
    return point_config("b", federation=federation, privacy={"min_survivors": 0.2})


def test_more_devices_than_were_counted_on_are_in_no_sum(tmp_path, monkeypatch):
    small = replace(summed_form(few(), USERS, "update"), sizes=(2, 4))
    monkeypatch.setattr("client.secagg.masking._form", lambda request: small)
    monkeypatch.setattr("client.secagg.masking.check", lambda session, request: None)
    with pytest.raises(ProtocolError, match="more than 4 devices"):
        cohort(few(), tmp_path)
