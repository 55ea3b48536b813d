"""A server's folder: who it is to nodes, whom it invited, its one run and what it published.

server.toml             see `Served`
ca.pem ca.key           the authority of its certificate; server.pem server.key: that one
catalogue.json          the public items
run/                    the run, as a simulation's: initial adapter, ledger, adapter, results
invitations/            hashes of tokens, see `server.up.invitations`
releases/N/             what was published, see `shared.published`
superlink/              Flower's: database, bundle, logs; and how many devices declined
"""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from server.up.authority import renewed
from shared.config import ExperimentConfig, from_dict, load_toml
from shared.data.catalogue import Catalogue
from shared.errors import ConfigError
from shared.files import make_folder, read_file, write_atomically
from shared.published import catalogue_of, catalogue_text
from shared.run_files import RunFiles, run_files

SETTINGS, CATALOGUE = "server.toml", "catalogue.json"
LOOPBACK = ("127.0.0.1", "localhost")


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Served:
    """What the operator configured once.

    Attributes
    ----------
    hosts : list of str
        By which nodes reach the server; invitations name the first.
    port : int
        The one that nodes connect to.
    listen : str
        The address that it is opened on.
    operator : str
        The public key that signs policies and releases.
    users : int
        People that the run rests on: it starts when so many nodes are connected.
    point : str
        Name of the run's point.
    """

    hosts: Annotated[list[str], Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65535)]
    listen: str
    operator: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    users: Annotated[int, Field(ge=1)]
    point: str


class ServerFolder:
    """One server's folder.

    Parameters
    ----------
    path : Path
        Made by `begin`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run, self.releases = path / "run", path / "releases"
        self.invitations, self.flower = path / "invitations", path / "superlink"
        self.declined = self.flower / "declined.json"
        self.authority, self.certificate = path / "ca.pem", path / "server.pem"
        self.key, self.authority_key = path / "server.key", path / "ca.key"

    @classmethod
    def begin(cls, path: Path, catalogue: Catalogue, secrets: Mapping[str, bytes]) -> ServerFolder:
        """Make a folder that its operator alone may enter; `configure` completes it.

        Raises
        ------
        ConfigError
            If there is such a path already, or it cannot be made.
        """
        folder = cls(path)
        refuse_existing(path)
        try:
            make_folder(path)
            path.chmod(0o700)
            for name, content in secrets.items():
                (path / name).touch(mode=0o600)
                (path / name).write_bytes(content)
            for below in (folder.invitations, folder.releases, folder.flower):
                below.mkdir()
            write_atomically(path / CATALOGUE, catalogue_text(catalogue))
        except OSError as error:
            shutil.rmtree(path, ignore_errors=True)
            raise ConfigError(f"{path}: cannot be written ({error.strerror})") from None
        return folder

    def configure(self, served: Served) -> None:
        """Write what makes it a server's folder."""
        write_atomically(self.path / SETTINGS, tomli_w.dumps(asdict(served)))

    def renew(self, hosts: Sequence[str]) -> list[str]:
        """Another certificate by the same authority; a server that runs shows it after a restart.

        Nodes that trust the authority go on. Both files are new: if only one was written, a server
        does not start, says so, and this is done again.

        Parameters
        ----------
        hosts : sequence of str
            By which nodes reach the server besides those that the certificate names.

        Returns
        -------
        list of str
            All that it names.

        Raises
        ------
        ConfigError
            As `server.up.authority.renewed`; or if it cannot be written.
        """
        served = self.served
        named = list(dict.fromkeys([*served.hosts, *hosts]))
        made = renewed(self.authority, self.authority_key, named)
        try:
            for name, content in made.items():
                write_atomically(self.path / name, content)
                (self.path / name).chmod(0o600)
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot be written ({error.strerror})") from None
        self.configure(replace(served, hosts=named))
        return named

    @property
    def served(self) -> Served:
        """What the operator configured; a ConfigError if it is missing or wrong."""
        file = self.path / SETTINGS
        try:
            tree = tomllib.loads(read_file(file).decode())
            return TypeAdapter(Served).validate_json(json.dumps(tree, default=str))
        except OSError as error:
            raise ConfigError(
                f"{self.path}: no server is here ({error.strerror}); make one with starling server "
                "init"
            ) from None
        except ValidationError as error:
            wrong = error.errors()[0]
            where = ".".join(map(str, wrong["loc"]))
            raise ConfigError(f"{file}: {where}: {wrong['msg']}") from None
        except ValueError as error:
            raise ConfigError(f"{file}: not TOML: {error}") from None

    @property
    def files(self) -> RunFiles:
        """Of the run's one point."""
        return run_files(self.run, self.served.point)

    @property
    def config(self) -> ExperimentConfig:
        """The settings of the run's one point."""
        file = self.files.settings
        return from_dict(load_toml(file), source=str(file))

    @property
    def catalogue(self) -> Catalogue:
        """The public items; a DataError if they are missing or damaged."""
        return catalogue_of(self.path / CATALOGUE)

    @property
    def latest(self) -> int:
        """Version of the last release; 0: there is none."""
        named = [each.name for each in self.releases.glob("*") if each.name.isdecimal()]
        return max(map(int, named), default=0)


def refuse_existing(path: Path) -> None:
    """A ConfigError if there is such a path: a server's folder is made once."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path}: is there already; give a new folder")
