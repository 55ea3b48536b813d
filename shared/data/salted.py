"""A salted digest of people's data: tells whether they changed, to those alone who have the salt.

An unsalted hash of a private log is an oracle: whoever knows all of it but one interaction tries
every item, and one fits. So no hash of data enters settings, adapters, requests or reports. This
one lies in a run's working folder, which nobody is given; beside it the folder in which the run was
started, from which relative paths in its settings lead.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.data.population import Population
from shared.errors import ConfigError
from shared.files import read_record, write_atomically, write_once


@dataclass(frozen=True)
class SaltedDigest:
    """HMAC-SHA256 of a population under a random key.

    Attributes
    ----------
    salt : str
        The key: 32 random bytes, in hexadecimal digits.
    digest : str
        64 hexadecimal digits.
    started : str
        The folder in which the run was started; empty if it is not known.
    """

    salt: str
    digest: str
    started: str = ""

    @classmethod
    def of(cls, population: Population) -> SaltedDigest:
        """Of a population, under a new salt, opened in this folder."""
        salt, started = secrets.token_hex(32), ""
        with suppress(FileNotFoundError):  # a folder that was removed meanwhile
            started = str(Path.cwd())
        return cls(salt, _hmac(salt, population), started)

    @classmethod
    def read(cls, file: Path) -> SaltedDigest:
        """What `write` left; a `ConfigError` if it is missing or damaged."""
        kept = read_record(file, ("salt", "digest"))
        return cls(str(kept["salt"]), str(kept["digest"]), str(kept.get("started", "")))

    def write(self, file: Path) -> None:
        """Replace a file with it."""
        write_atomically(file, json.dumps(vars(self)))

    def keep(self, file: Path) -> None:
        """Write it, unless the run has one: then it is this one, or was checked."""
        write_once(file, json.dumps(vars(self)))

    def matches(self, population: Population) -> bool:
        """Whether these are the data that it was made of."""
        return hmac.compare_digest(self.digest, _hmac(self.salt, population))

    def check(self, population: Population) -> None:
        """Refuse other data.

        Raises
        ------
        ConfigError
        """
        if not self.matches(population):
            raise ConfigError(
                f"{population.name}: these are not the data that the run started with; put those "
                "back, or start a new run with another --out"
            )


def _hmac(salt: str, population: Population) -> str:
    return hmac.new(salt.encode(), population.digest.encode(), hashlib.sha256).hexdigest()
