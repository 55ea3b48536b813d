"""Devices' folders with releases in them, as their operators published them."""

import hashlib
from datetime import UTC, datetime

from safetensors.numpy import save

from client.device.folder import DeviceFolder, Owned
from client.person.person import Person
from shared.canonical import canonical_json
from shared.config import ExperimentConfig, from_dict, settings_hash, to_dict
from shared.data.catalogue import Catalogue
from shared.model.adapter import AdapterSchema
from shared.model.sources.choice import build, find
from shared.privacy.keys import load_or_create_signing_key
from shared.published import ADAPTER, CATALOGUE, MANIFEST, Manifest, catalogue_text, signed_manifest
from tests.support.privacy.policies import operator
from tests.support.tiny import LENGTH, random_adapter

FILMS = {
    "salt": "Salt and Lanterns (1994). Drama, Mystery",
    "orbit": "The Last Orbit (1998). Sci-Fi, Thriller",
    "bakery": "A Bakery in Lisbon (2003). Comedy, Romance",
    "glass": "Glass Harbour (1995). Drama, Crime",
    "comet": "Comet Season (1999). Sci-Fi, Adventure",
    "otters": "Three Otters (2001). Animation, Children",
    "winter": "Winter Timetable (1996). Drama",
    "signal": "Signal from Europa (2000). Sci-Fi, Mystery",
    "violin": "The Borrowed Violin (1997). Drama, Romance",
    "dust": "Dust on the Mesa (1993). Western, Adventure",
    "clock": "The Clockmaker's Twin (2002). Mystery, Crime",
    "ferry": "Night Ferry (1999). Thriller, Crime",
    "paper": "Paper Planes (2004). Animation, Comedy",
    "tango": "Tango for Beginners (1998). Comedy, Romance",
    "north": "North of Everything (1995). Adventure, Drama",
    "moth": "The Moth Collector (2000). Horror, Mystery",
    "harvest": "Harvest Moon Garage (2003). Comedy, Musical",
    "deep": "Deep Field (2005). Sci-Fi, Drama",
}


def films() -> Catalogue:
    return Catalogue(tuple(FILMS), tuple(FILMS.values()))


def settings_of(backbone, catalogue, **sections) -> ExperimentConfig:
    tree = to_dict(ExperimentConfig())
    tree["model"] |= {"backbone": str(backbone), "max_length": LENGTH, "lora_rank": 2}
    tree["data"] |= {"catalogue": catalogue.digest}
    for name, values in sections.items():
        tree[name] |= values
    return from_dict(tree)


def release(folder, backbone, catalogue, version=1, seed=0, **sections):
    """A folder that the tests' operator signed."""
    return publish(folder, settings_of(backbone, catalogue, **sections), catalogue, version, seed)


def publish(folder, config, catalogue, version=1, seed=0):
    """The same of whole settings."""
    model = build(catalogue, find(config.model), config.model)
    schema = AdapterSchema.of(model)
    arrays = schema.split(random_adapter(schema, seed).numpy())
    if "mix.weight" in arrays:
        arrays["mix.weight"] = model.mix.weight.detach().numpy()
    folder.mkdir(parents=True)
    told = {"settings": canonical_json(to_dict(config))}
    (folder / ADAPTER).write_bytes(save(arrays, metadata=told))
    (folder / CATALOGUE).write_text(catalogue_text(catalogue))
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in (ADAPTER, CATALOGUE)
    }
    issued = datetime.now(UTC).isoformat(timespec="seconds")
    manifest = Manifest(version, issued, settings_hash(config), digests)
    (folder / MANIFEST).write_text(signed_manifest(manifest, load_or_create_signing_key()))
    return folder


def begun(folder, catalogue=None, user="ann") -> DeviceFolder:
    return DeviceFolder.begin(folder, Owned(user, operator()), catalogue or films())


def person(folder, backbone, **sections) -> Person:
    """Somebody with a release, who chose and said nothing yet."""
    device = begun(folder / "state")
    device.install(release(folder / "1", backbone, films(), **sections))
    return Person(device)
