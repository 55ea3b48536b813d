"""What may be wrong with a device's folder, or with what is brought to it."""

import sqlite3
from contextlib import closing

from client.device.folder import DeviceFolder, Owned
from client.store import FILE, Interaction
from shared.data.catalogue import Catalogue
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.published import ADAPTER, CATALOGUE, MANIFEST, Manifest, catalogue_text, digest_of
from shared.published import signed_manifest as signed
from tests.support.bad.lab import Case
from tests.support.privacy.policies import OTHER

ITEMS = Catalogue(("a", "b"), ("Alpha", "Beta"))


def device(lab):
    """A folder of somebody who chose one item, as other commands left it."""
    owner = Owned("ann", public_hex(load_or_create_signing_key()))
    folder = DeviceFolder.begin(lab.folder / "ann", owner, ITEMS)
    folder.store.add([Interaction("a", 1)])
    (folder.path / "caps.toml").write_text("epsilon = 1.0\n")
    return folder


def release(lab, version=1, key=None, files=None):
    """A folder that passes for one until its adapter is opened."""
    folder = lab.folder / f"release-{version}"
    folder.mkdir()
    (folder / ADAPTER).write_bytes(b"adapter")
    (folder / CATALOGUE).write_text(catalogue_text(ITEMS))
    digests = {name: digest_of(folder / name) for name in (ADAPTER, CATALOGUE)}
    told = Manifest(version, "2026-11-28T00:00:00+00:00", "", files or digests)
    (folder / MANIFEST).write_text(signed(told, key or load_or_create_signing_key()))
    return folder


def _init(*words):
    def act(lab):
        log = lab.log()
        given = [str(log) if word == "LOG" else word for word in words]
        return lab.run("client", "init", "--state", lab.folder / "ann", "--user", "ann", *given)

    return act


def _with(prepare, *words):
    """A command on a device's folder to which something happened before."""

    def act(lab):
        folder = device(lab)
        given = prepare(lab, folder)
        return lab.run("client", *words, *([given] if given else []), "--state", folder.path)

    return act


def _nothing(lab, folder):
    return None


def _text(name, text):
    def prepare(lab, folder):
        (folder.path / name).write_text(text)

    return prepare


def _pragma(name, value):
    def prepare(lab, folder):
        with closing(sqlite3.connect(folder.path / FILE)) as database:
            database.execute(f"PRAGMA {name} = {value}")

    return prepare


def _released(spoil=None, **given):
    def prepare(lab, folder):
        found = release(lab, **given)
        if spoil:
            spoil(found)
        return found

    return prepare


def _append(name):
    def spoil(folder):
        with (folder / name).open("a") as stream:
            stream.write(" ")

    return spoil


def _renumber(folder):
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"version":1', '"version":9'))


def _forgotten(lab, folder):
    folder.forget()


def _exists(lab, folder):
    return lab.file("mine.json", "kept")


def _begun(lab):
    device(lab)
    words = ("--operator", public_hex(OTHER), "--items", lab.log())
    return lab.run("client", "init", "--state", lab.folder / "ann", "--user", "bob", *words)


KEY = public_hex(OTHER)
FILES = {ADAPTER: "0" * 64, CATALOGUE: "0" * 64}
CASES = {
    "client init: neither an invitation nor a key and items": _init(),
    "client init: a key that is none": _init("--operator", "abc", "--items", "LOG"),
    "client init: items that are nowhere": _init("--operator", KEY, "--items", "nowhere"),
    "client init: a log without the person": _init(
        "--operator", KEY, "--items", "LOG", "--log", "LOG"
    ),
    "client init: a folder with a device": _begun,
    "client serve: no device": lambda lab: lab.run("client", "serve", "--state", lab.folder),
    "client serve: device.toml is no TOML": _with(_text("device.toml", "user ="), "serve"),
    "client serve: a setting that there is not": _with(
        _text("device.toml", 'user = "u"\noperater = "x"\n'), "serve"
    ),
    "client export: catalogue.json cut short": _with(
        lambda lab, folder: [_text("catalogue.json", '{"items":')(lab, folder), "new.json"][1],
        "export",
    ),
    "client export: a file that is there": _with(_exists, "export"),
    "client export: a store of a later version": _with(
        lambda lab, folder: [_pragma("user_version", 99)(lab, folder), "new.json"][1], "export"
    ),
    "client export: a store of another program": _with(
        lambda lab, folder: [_pragma("application_id", 7)(lab, folder), "new.json"][1], "export"
    ),
    "client export: a person who was forgotten": _with(
        lambda lab, folder: [_forgotten(lab, folder), "new.json"][1], "export"
    ),
    "client forget: an item that nobody met": _with(_nothing, "forget", "--yes", "--item", "z"),
    "client pause: caps with a typing error": _with(_text("caps.toml", "epsilom = 1\n"), "pause"),
    "client recommend --explore: the owner does not allow it": _with(
        _nothing, "recommend", "--explore", "thompson"
    ),
    "client recommend --explore: no policy of that name": _with(
        _nothing, "recommend", "--explore", "thomson"
    ),
    "client recommend --explore: a strength out of range": _with(
        _nothing, "recommend", "--explore", "softmax=0"
    ),
    "client recommend --explore: a strength that is no number": _with(
        _nothing, "recommend", "--explore", "softmax=low"
    ),
    "client recommend --explore: beside --ask": _with(
        _nothing, "recommend", "--explore", "greedy", "--ask", "comedy"
    ),
    "client recommend --explore: allowed by no true or false": _with(
        _text("device.toml", "[exploration]\nallowed = 1\n"), "recommend", "--explore", "greedy"
    ),
    "client rollback: no earlier release": _with(_nothing, "rollback"),
    "client rollback: a pointer that leads elsewhere": _with(
        lambda lab, folder: [
            (folder.path / "releases").mkdir(),
            _text("releases/current", "../..")(lab, folder),
        ][1],
        "rollback",
    ),
    "client update: a release that is not there": _with(
        lambda lab, folder: lab.folder / "none", "update"
    ),
    "client update: a file that is missing": _with(
        _released(lambda folder: (folder / ADAPTER).unlink()), "update"
    ),
    "client update: an adapter that is none": _with(_released(), "update"),
}
PRIVACY = {
    "client update: another operator's": _with(_released(key=OTHER), "update"),
    "client update: an altered adapter": _with(_released(_append(ADAPTER)), "update"),
    "client update: an altered catalogue": _with(_released(_append(CATALOGUE)), "update"),
    "client update: an altered manifest": _with(_released(_renumber), "update"),
    "client update: a file that lies elsewhere": _with(
        _released(files={**FILES, "../caps.toml": "0" * 64}), "update"
    ),
}
DEVICES = (
    *(Case("device", name, act) for name, act in CASES.items()),
    *(Case("device", name, act, 3) for name, act in PRIVACY.items()),
)
