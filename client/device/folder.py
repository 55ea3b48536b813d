"""A device's folder: who its person is, whom it heeds, and what it recommends from.

    device.toml     what the owner configured, see `Owned`
    caps.toml       what the owner allows, see `shared.privacy.policy.caps`
    catalogue.json  the public items until a release brings its own
    store.sqlite    the person's interactions, see `client.store`
    releases/N/     adapters that the operator published, see `shared.published`

Beside these what the agreement, the ledgers and secure sums keep.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import asdict
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from client.device.conditions import Conditions
from client.device.covered import operator_key
from client.device.limits import Limits
from client.device.personal import export, forget, forgotten, pause
from client.serving.exploration.device import Exploration
from client.serving.releases import Release, Releases
from client.store import Store
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError, DataError, nearest
from shared.files import make_folder, read_file, write_atomically
from shared.published import catalogue_of, catalogue_text

SETTINGS, CATALOGUE, CAPS = "device.toml", "catalogue.json", "caps.toml"
_SECTIONS: dict[str, Any] = {
    "conditions": Conditions,
    "limits": Limits,
    "exploration": Exploration,
}
_UNKNOWN = "unexpected_keyword_argument"  # what pydantic calls a setting that there is not


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Owned:
    """What a device's owner configured once.

    Attributes
    ----------
    user : str
        The person's identifier: what a device draws and need not keep secret follows from it.
    operator : str
        The public key whose policies and releases the device heeds, 64 hexadecimal digits.
    roster : str
        File of the devices that it is summed with and no others; empty: any.
    conditions : Conditions
        When it may compute for others.
    limits : Limits
        How much of its machine it takes.
    exploration : Exploration
        Whether slates may be chosen to learn from.
    """

    user: str
    operator: str
    roster: str = ""
    conditions: Conditions = Conditions()
    limits: Limits = Limits()
    exploration: Exploration = Exploration()


class DeviceFolder:
    """One device's folder.

    Parameters
    ----------
    path : Path
        Made by `begin`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def begin(cls, path: Path, owned: Owned, catalogue: Catalogue) -> DeviceFolder:
        """Make a folder that its owner alone may enter.

        Raises
        ------
        ConfigError
            If there is a device in it already, or it cannot be written.
        """
        folder = cls(path)
        operator_key("a device", owned.operator)
        if (path / SETTINGS).exists():
            raise ConfigError(f"{path}: holds a device already; give another folder")
        try:
            make_folder(path)
            path.chmod(0o700)
            write_atomically(path / CATALOGUE, catalogue_text(catalogue))
            write_atomically(path / SETTINGS, tomli_w.dumps(asdict(owned)))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
        return folder

    @property
    def owned(self) -> Owned:
        """What the owner configured; a ConfigError if it is missing or wrong."""
        file = self.path / SETTINGS
        try:
            tree: dict[str, Any] = tomllib.loads(read_file(file).decode())
            owned = TypeAdapter(Owned).validate_json(json.dumps(tree, default=str))
        except OSError as error:
            raise ConfigError(
                f"{self.path}: no device is here ({error.strerror}); make one with starling client "
                "init"
            ) from None
        except (ValueError, ValidationError) as error:
            raise ConfigError(f"{file}: {_first(error)}") from None
        operator_key(str(file), owned.operator)
        return owned

    @property
    def release(self) -> Release | None:
        """What the operator published and this device installed last; None before the first.

        Raises
        ------
        DataError, PrivacyError
            If it was damaged or altered since.
        """
        return self._releases.current()

    def install(self, source: Path) -> Release:
        """Let a release count from now on; see `client.serving.releases.Releases.install`."""
        return self._releases.install(source)

    def roll_back(self) -> Release:
        """Let the release before it count again; see `client.serving.releases.Releases`."""
        return self._releases.roll_back()

    @property
    def _releases(self) -> Releases:
        return Releases(self.path, self.owned.operator)

    @property
    def catalogue(self) -> Catalogue:
        """The public items: the release's, or before the first those that the device began with.

        Raises
        ------
        DataError
            If they are missing or damaged.
        """
        release = self.release
        file = (release.folder if release else self.path) / CATALOGUE
        try:
            about = file.stat()
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from None
        return _catalogue(file, about.st_ino, about.st_mtime_ns)

    @property
    def store(self) -> Store:
        """The person's interactions; a DataError if they cannot be used, or were forgotten."""
        if self.forgotten:
            raise DataError(
                f"{self.path}: this device has forgotten its person; starling client init makes "
                "another one, in another folder"
            )
        return self._store

    @cached_property
    def _store(self) -> Store:
        return Store(self.path)

    @property
    def forgotten(self) -> bool:
        """Whether it has forgotten its person, and takes part in nothing."""
        return forgotten(self.path)

    def forget(self, item: str | None = None) -> list[str]:
        """Erase what is kept of the person, or of one item alone; the names of what was erased.

        Raises
        ------
        ConfigError, DataError
            If it cannot be, or nothing is kept of the item.
        """
        if item is None:
            self.owned  # noqa: B018 (there is a device)
            return forget(self.path)
        if not self.store.forget(item):
            raise DataError(f"--item {item[:80]!r}: nothing is kept of it")
        return [item]

    def export(self, file: Path) -> None:
        """Write all that is kept about the person into a new file that its owner alone may read.

        Raises
        ------
        ConfigError, DataError
            If there is a file already, or something cannot be read.
        """
        text = export(self.path, asdict(self.owned), self.catalogue, self.store)
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
        except FileExistsError:
            raise ConfigError(f"{file}: is there already; give another file") from None
        except OSError as error:
            raise ConfigError(f"{file}: cannot be written ({error.strerror})") from None

    def pause(self, paused: bool) -> None:
        """Take part in nothing, or again; the rest of the owner's caps stays as written."""
        pause(self.path / CAPS, paused)


@lru_cache(maxsize=2)
def _catalogue(file: Path, inode: int, time: int) -> Catalogue:
    """Read once: it is replaced as a whole, never written into."""
    return catalogue_of(file)


def _first(error: ValueError) -> str:
    """What is wrong, in one line: with a setting by its name."""
    if not isinstance(error, ValidationError):
        return f"not TOML ({error})"
    found = {each["type"] == _UNKNOWN: each for each in error.errors()}
    about = found.get(True) or found[False]
    *section, last = map(str, about["loc"])
    name = ".".join([*section, last])
    if about["type"] == _UNKNOWN:
        kind = _SECTIONS.get(".".join(section), Owned)
        return f"{name}: is no setting{nearest(last, kind.__dataclass_fields__)}"
    return f"{name}: {about['msg']}"
