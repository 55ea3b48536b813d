"""A release counts if the operator signed it, it is later, and this device can use it."""

import dataclasses
import shutil

import pytest
from safetensors.numpy import load_file, save_file

from client.device.folder import DeviceFolder, Owned
from client.device.resident import Resident
from client.serving.releases import MOST_BYTES
from client.store import Interaction
from shared.canonical import canonical_json
from shared.config import settings_hash, to_dict
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, DataError, Declined, ModelError, PrivacyError
from shared.model.adapter import AdapterSchema
from shared.model.backbone import resolve
from shared.model.items import item_vectors
from shared.model.recommender import build_recommender
from shared.privacy.keys import load_or_create_signing_key
from shared.published import ADAPTER, CATALOGUE, MANIFEST, Manifest, catalogue_text, digest_of
from shared.published import signed_manifest as signed
from tests.support.asking import asked
from tests.support.federations import point_config
from tests.support.persons import owners
from tests.support.privacy.policies import OTHER, agreed, operator
from tests.support.tiny import random_adapter

OLD = Catalogue(tuple("abcdef"), tuple(f"Text of {item * 3}" for item in "abcdef"))
NEW = Catalogue(tuple("gfedcba"), tuple(f"Text of {item * 3}" for item in "gfedcba"))


@pytest.fixture
def publish(tiny_bert, tmp_path):
    """A folder as an operator publishes it; `key`, `files` and `settings` may be others."""

    def make(version, catalogue=OLD, key=None, **changed):
        config = point_config(tiny_bert)
        data = dataclasses.replace(config.data, catalogue=catalogue.digest)
        config = dataclasses.replace(config, data=data)
        source = resolve(tiny_bert)
        vectors = item_vectors(catalogue.texts, source)
        schema = AdapterSchema.of(build_recommender(source, vectors, config.model))
        folder = tmp_path / f"published-{version}-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        arrays = dict(schema.split(random_adapter(schema).numpy()))
        save_file(arrays, folder / ADAPTER, {"settings": canonical_json(to_dict(config))})
        (folder / CATALOGUE).write_text(catalogue_text(catalogue))
        sign(folder, version, key, **{"settings": settings_hash(config)} | changed)
        return folder

    return make


def sign(folder, version, key=None, *, settings="", files=None):
    digests = {name: digest_of(folder / name) for name in (ADAPTER, CATALOGUE)}
    told = Manifest(version, "2026-11-28T00:00:00+00:00", settings, files or digests)
    (folder / MANIFEST).write_text(signed(told, key or load_or_create_signing_key()))


@pytest.fixture
def device(tmp_path):
    device = DeviceFolder.begin(tmp_path / "state", Owned("u", operator()), OLD)
    device.store.add(Interaction(item, time) for time, item in enumerate("abcg"))
    return device


def versions(device):
    return sorted(each.name for each in (device.path / "releases").iterdir())


def test_a_release_counts_and_brings_its_catalogue_and_histories_follow(device, publish):
    assert device.release is None
    assert device.store.history(device.catalogue).tolist() == [0, 1, 2]
    assert device.install(publish(1)).version == 1
    assert device.install(publish(2, NEW)).version == device.release.version == 2
    assert device.catalogue == NEW
    assert device.store.history(device.catalogue).tolist() == [6, 5, 4, 0]
    assert device.roll_back().version == device.release.version == 1
    assert device.catalogue == OLD
    assert device.store.history(device.catalogue).tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="no earlier release"):
        device.roll_back()
    assert device.install(publish(2, NEW)).version == 2  # the owner's own word again
    for version in (3, 4, 5):
        device.install(publish(version))
    assert versions(device) == ["3", "4", "5", "current"]


def renamed(folder):
    files = {name: digest_of(folder / name) for name in (ADAPTER, CATALOGUE)}
    sign(folder, 2, files={**files, "../../caps.toml": "0" * 64})


def nameless(folder):
    sign(folder, 2, files={ADAPTER: digest_of(folder / ADAPTER)})


def oversize(folder):
    with (folder / ADAPTER).open("ab") as stream:
        stream.truncate(MOST_BYTES + 1)


def of_another_shape(folder):
    arrays = load_file(folder / ADAPTER)
    name = sorted(arrays)[0]
    save_file({**arrays, name: arrays[name][:1]}, folder / ADAPTER, metadata_of(folder))
    sign(folder, 2)


def of_an_absent_backbone(folder):
    text = metadata_of(folder)["settings"].replace("tiny-bert", "not-here")
    save_file(load_file(folder / ADAPTER), folder / ADAPTER, {"settings": text})
    sign(folder, 2)


def metadata_of(folder):
    from safetensors import safe_open

    with safe_open(folder / ADAPTER, "np") as stream:
        return stream.metadata()


def no_items(folder):
    (folder / CATALOGUE).write_text('{"items":["a"],"texts":["A"]}')
    sign(folder, 2)


def altered(name, old, new):
    def alter(folder):
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return alter


REFUSED = {
    "another operator's": (lambda folder: sign(folder, 2, OTHER), PrivacyError, "signed by"),
    "altered adapter": (
        altered(ADAPTER, b"seed", b"sead"),
        PrivacyError,
        "adapter.safetensors: not",
    ),
    "altered catalogue": (
        altered(CATALOGUE, b"of b", b"of x"),
        PrivacyError,
        "catalogue.json: not",
    ),
    "altered manifest": (
        altered(MANIFEST, b'"version":2', b'"version":9'),
        PrivacyError,
        "the signature is not over",
    ),
    "no manifest": (altered(MANIFEST, b"{", b"["), PrivacyError, "not a signed release"),
    "downgrade": (lambda folder: sign(folder, 1), PrivacyError, "takes 2 or later, and goes back"),
    "a file elsewhere": (renamed, PrivacyError, r"'\.\./\.\./caps\.toml': a release has one"),
    "a file not named": (nameless, PrivacyError, "'catalogue.json': a release has one"),
    "a missing file": (lambda folder: (folder / ADAPTER).unlink(), ConfigError, "cannot be read"),
    "oversize": (oversize, ConfigError, "bytes: at most"),
    "another schema": (of_another_shape, ModelError, "release 2: cannot be used here"),
    "another backbone": (of_an_absent_backbone, ModelError, "release 2: cannot be used here"),
    "no catalogue": (no_items, DataError, "at least 2 are needed"),
    "other settings": (
        lambda folder: sign(folder, 2, settings="x"),
        PrivacyError,
        "other settings",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_leaves_the_release_that_counts(case, device, publish):
    spoil, kind, message = REFUSED[case]
    device.install(publish(1))
    offered = publish(2)
    spoil(offered)
    with pytest.raises(kind, match=message) as told:
        device.install(offered)
    assert "\n" not in str(told.value)
    assert device.release.version == 1
    assert versions(device) == ["1", "current"]


@pytest.mark.parametrize("name", [ADAPTER, CATALOGUE, MANIFEST])
def test_what_is_altered_once_it_is_installed_counts_no_more(name, device, publish):
    device.install(publish(1))
    device.install(publish(2))
    file = device.path / "releases" / "2" / name
    file.write_bytes(file.read_bytes().replace(b"e", b"f", 1))
    with pytest.raises(PrivacyError):
        _ = device.release
    (device.path / "releases" / "current").write_text("../../x")
    with pytest.raises(DataError, match="expected the number of a release"):
        _ = device.release
    assert device.install(publish(2)).version == device.release.version == 2  # brought again
    file.write_bytes(file.read_bytes().replace(b"e", b"f", 1))
    assert device.roll_back().version == device.release.version == 1
    (device.path / "releases" / "current").write_text("x")
    assert device.install(publish(2)).version == 2


def test_a_crash_while_one_is_installed_leaves_the_one_before(device, publish, monkeypatch):
    device.install(publish(1))
    offered = publish(2)
    shutil.copytree(offered, device.path / "releases" / "2")  # it has its name, but does not count
    shutil.copytree(offered, device.path / "releases" / ".2")
    (device.path / "releases" / "2" / ADAPTER).write_bytes(b"half")
    assert device.release.version == 1
    assert device.install(offered).version == 2
    assert versions(device) == ["1", "2", "current"]


def test_a_request_about_other_items_is_declined_in_words(device, publish, tiny_bert):
    """Equally many, so that adapters have one shape: what is trained would be of other items."""
    other = Catalogue(tuple("uvwxyz"), tuple(f"Text of {item * 3}" for item in "uvwxyz"))
    (device.path / "caps.toml").write_text(owners())
    config = point_config(tiny_bert)
    schema = AdapterSchema.of(
        build_recommender(
            resolve(tiny_bert), item_vectors(OLD.texts, resolve(tiny_bert)), config.model
        )
    )
    resident = Resident(device)
    for catalogue, answers in ((other, False), (OLD, True)):
        data = dataclasses.replace(config.data, catalogue=catalogue.digest)
        about = dataclasses.replace(config, data=data)
        arrays = schema.split(random_adapter(schema).numpy())
        policy = agreed(about, 40, schema.digest)
        request = asked(about, number=1, arrays=arrays, policy=policy)
        if answers:
            assert resident.answer(request, 2).vector.any()
            continue
        with pytest.raises(Declined, match="it is about other items") as told:
            resident.answer(request, 2)
        assert told.value.word == "policy"
        assert not (device.path / "participation.jsonl").exists()


def test_a_lost_pointer_lets_no_older_release_in(device, publish):
    older = publish(1)
    device.install(publish(2))
    (device.path / "releases" / "current").unlink()
    with pytest.raises(PrivacyError, match="this device takes 2 or later"):
        device.install(older)
    assert device.install(publish(2)).version == 2
