"""A server's one run, from its checks to the release: Flower's processes kept up meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx

from server.up.authority import check_certificate, lasts
from server.up.flower import Link, SuperLink
from server.up.folder import CATALOGUE, ServerFolder
from server.up.front import Front
from server.up.invitations import Enrolled, enrolled, revoke
from shared.config import settings_hash
from shared.connections import room
from shared.errors import ConfigError, EngineError
from shared.files import FolderLock, read_record, write_atomically
from shared.privacy.keys import load_or_create_signing_key, public_hex
from shared.published import ADAPTER, MANIFEST, Manifest, digest_of, signed_manifest
from shared.published import CATALOGUE as RELEASED_CATALOGUE
from shared.run_files import RunFolder

Say = Callable[[str], None]
Answer = TypeVar("Answer")
STATE = "state.json"  # in `superlink/`: what `starling server status` asks
RETURN = 60.0
"""Seconds in which a run that goes on waits for all nodes: they beat every half a minute."""
EVERY = 60.0
"""Seconds after which a server that waits for nodes says so again."""
_LOOK = 0.5  # seconds from one look at the SuperLink to the next
_ATTEMPTS = 20  # runs of Flower's for the one of ours, each going on from its checkpoint


class Conductor:
    """A server that is up.

    Parameters
    ----------
    folder : ServerFolder
    say : callable
        Told what happens, a line each.
    """

    def __init__(self, folder: ServerFolder, say: Say) -> None:
        self._folder, self._say = folder, say
        self._served = folder.served
        self._restarts = 0  # of Flower's processes

    def check(self) -> None:
        """Whatever would stop the run and can be known before.

        Raises
        ------
        ConfigError, DataError
            Naming it.
        """
        folder, served = self._folder, self._served
        until = check_certificate(
            folder.certificate, folder.key, folder.authority, [*served.hosts, "127.0.0.1"]
        )
        for file in (folder.key, folder.authority_key):
            if file.exists() and file.stat().st_mode & 0o077:
                raise ConfigError(f"{file}: can be read by others; run chmod 600 on it")
        ours = public_hex(load_or_create_signing_key())
        if ours != served.operator:
            raise ConfigError(
                f"{folder.path}: nodes heed the operator {served.operator[:16]}..., the key here "
                f"is {ours[:16]}...; set STARLING_HOME to where that one is kept"
            )
        if not folder.files.initial.is_file():
            raise ConfigError(f"{folder.files.initial}: is missing; restore it from a copy")
        if folder.catalogue.digest != folder.config.data.catalogue:
            raise ConfigError(f"{folder.path / CATALOGUE}: not the items that the run is about")
        _check_port(served.listen, served.port)
        self._say(f"certificate: {lasts(until)}; operator {served.operator}")

    def run(self, *, once: bool) -> None:
        """Be up until the operator ends it; `once`: until the run is released.

        Raises
        ------
        ConfigError, DataError
            As `check`; or if another process is at work in the folder.
        EngineError
            If the run failed.
        """
        with self._up() as (superlink, link):
            if not self._complete():
                self._carry_out(superlink, link)
            if not self._folder.latest:
                self._release()
            while not once:
                time.sleep(_LOOK)
                self._keep_up(superlink)

    @contextmanager
    def _up(self) -> Iterator[tuple[SuperLink, Link]]:
        with FolderLock(self._folder.path) as lock:
            lock.take()
            self.check()
            room()  # before Flower's processes, which have as many files as this one
            with SuperLink(self._folder) as superlink:
                link = Link(superlink.address, self._folder.authority.read_bytes())
                try:
                    self._asked(superlink, lambda: link.unregister(revoked_keys(self._folder)))
                    with Front(self._folder, superlink.address, link):
                        self._note(superlink, None)
                        self._say(f"nodes connect to {self._served.hosts[0]}:{self._served.port}")
                        yield superlink, link
                finally:
                    link.close()
                    (self._folder.flower / STATE).unlink(missing_ok=True)

    def _wait_for_nodes(self, superlink: SuperLink, link: Link) -> None:
        wanted, said, begun = self._served.users, -1, self._has_begun()
        until = time.monotonic() + RETURN  # then a run that has begun goes on with whoever is there
        again = time.monotonic() + EVERY
        while True:
            online = sum(node.online for node in self._asked(superlink, link.nodes))
            now = time.monotonic()
            if online != said:
                said, again = online, now + EVERY
                self._say(f"{online} of {wanted} nodes are connected")
            if online >= wanted or (begun and online and now > until):
                return
            if now >= again:
                again = now + EVERY
                self._say(f"still waiting: {online} of {wanted} nodes are connected")
            time.sleep(_LOOK)
            self._keep_up(superlink)

    def _carry_out(self, superlink: SuperLink, link: Link) -> None:
        """Runs of Flower's until ours is complete: each goes on where the last was cut off."""
        files = self._folder.files
        told: dict[str, str | int] = {
            "config": str(files.settings.absolute()),
            "directory": str(files.folder.absolute()),
            "name": files.name,
            "users": self._served.users,
            "policy": "",
            "declined": str(self._folder.declined.absolute()),
        }
        for attempt in range(_ATTEMPTS):
            self._wait_for_nodes(superlink, link)
            log = self._folder.flower / "run.log"
            heard = _Tail(log)
            number = self._asked(superlink, lambda: link.start(told))
            link.follow(number, log)
            self._note(superlink, number)
            self._say("the run begins" if not attempt else "the run goes on from its checkpoint")
            cut_off = self._follow(superlink, link, number, heard)
            if self._complete():
                return
            if not (cut_off or self._lacked_nodes(superlink, link)):
                break
        raise EngineError(f"the run failed: {heard.last_error() or 'without a word'}; see {log}")

    def _has_begun(self) -> bool:
        return self._folder.files.checkpoint.exists()

    def _lacked_nodes(self, superlink: SuperLink, link: Link) -> bool:
        """Whether it could not begin, as a node had gone again."""
        online = sum(node.online for node in self._asked(superlink, link.nodes))
        return online < self._served.users and not self._has_begun()

    def _follow(self, superlink: SuperLink, link: Link, number: int, heard: _Tail) -> bool:
        """Until a run of Flower's has ended; whether one of the processes had to be restarted."""
        before = followed = self._restarts
        while True:
            for line in heard.rounds():
                self._say(line)
            self._keep_up(superlink)
            state = self._asked(superlink, lambda: link.state_of(number))
            if self._restarts > followed:
                followed = self._restarts
                link.follow(number, heard.file)
            if state in ("completed", "failed", "stopped"):
                time.sleep(_LOOK)  # until its last words are there
                for line in heard.rounds():
                    self._say(line)
                return self._restarts > before
            time.sleep(_LOOK)

    def _asked(self, superlink: SuperLink, ask: Callable[[], Answer]) -> Answer:
        """An answer of the SuperLink, which may just be starting again, or have to be started."""
        until = time.monotonic() + 60
        while True:
            try:
                return ask()
            except httpx.HTTPError as error:
                if time.monotonic() > until:
                    raise EngineError(f"the SuperLink does not answer ({error})") from None
                time.sleep(_LOOK)
                self._keep_up(superlink)

    def _keep_up(self, superlink: SuperLink) -> None:
        ended = superlink.keep_up()
        self._restarts += len(ended)
        for name in ended:
            self._say(f"{name} had ended; it was started again")
        if ended:
            state = read_record(self._folder.flower / STATE, ())
            self._note(superlink, state.get("run"))

    def _note(self, superlink: SuperLink, number: int | None) -> None:
        known = {"pid": os.getpid(), "children": superlink.pids}
        content = {**known, "superlink": superlink.address, "run": number}
        write_atomically(self._folder.flower / STATE, json.dumps(content))

    def _complete(self) -> bool:
        results = RunFolder(self._folder.run).results
        return results.exists() and read_record(results, ()).get("complete") is True

    def _release(self) -> None:
        version = publish(self._folder)
        self._say(f"release {version} is published; starling verify {self._folder.run}")


@contextmanager
def asking(folder: ServerFolder) -> Iterator[Link]:
    """The SuperLink of a server that is up, in whatever process."""
    address = str(read_record(folder.flower / STATE, ("superlink",))["superlink"])
    link = Link(address, folder.authority.read_bytes())
    try:
        yield link
    finally:
        link.close()


def revoked_keys(folder: ServerFolder) -> set[str]:
    """Public keys (PEM) that are accepted no more."""
    return {each.key for each in enrolled(folder.invitations) if each.revoked}


def turn_away(folder: ServerFolder, which: str) -> tuple[Enrolled, bool]:
    """Revoke an invitation, with the node that used it.

    The front lets it in no more as soon as that is on record, and stands before the SuperLink. That
    is told too, now if the server is up, else when it starts.

    Parameters
    ----------
    folder : ServerFolder
    which : str
        As `server.up.invitations.revoke`.

    Returns
    -------
    Enrolled
        What is on record.
    bool
        Whether the SuperLink knows.
    """
    gone = revoke(folder.invitations, which)
    if not (folder.flower / STATE).exists():
        return gone, False
    with asking(folder) as link:
        try:
            link.unregister({gone.key})
        except httpx.HTTPError:
            return gone, False
    return gone, True


def publish(folder: ServerFolder) -> int:
    """Sign the adapter of a folder's complete run as its next release; the version.

    The folder of a release appears complete or not at all.
    """
    version = folder.latest + 1
    draft = folder.releases / f".{version}"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    shutil.copyfile(folder.files.adapter, draft / ADAPTER)
    shutil.copyfile(folder.path / CATALOGUE, draft / RELEASED_CATALOGUE)
    manifest = Manifest(
        version,
        datetime.now(UTC).isoformat(timespec="seconds"),
        settings_hash(folder.config),
        {name: digest_of(draft / name) for name in (ADAPTER, RELEASED_CATALOGUE)},
    )
    write_atomically(draft / MANIFEST, signed_manifest(manifest, load_or_create_signing_key()))
    draft.rename(folder.releases / str(version))
    return version


class _Tail:
    """What a log says from now on."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._told: set[str] = set()
        self._begin = self._read = file.stat().st_size if file.exists() else 0

    def rounds(self) -> list[str]:
        """Of rounds and what was spent: new lines, without Flower's own beginning."""
        with suppress(FileNotFoundError), self.file.open("rb") as stream:
            stream.seek(self._read)
            new = stream.read()
            whole = new.rpartition(b"\n")[0]
            self._read += len(whole)
            lines = [_plain(line) for line in whole.decode(errors="replace").splitlines()]
            told = [line for line in lines if line.startswith(("round ", "after "))]
            new_ones = [line for line in told if line not in self._told]
            self._told.update(new_ones)  # after a SuperLink's restart a log begins anew
            return new_ones
        return []

    def last_error(self) -> str:
        """What was said of an error last."""
        with suppress(FileNotFoundError), self.file.open("rb") as stream:
            stream.seek(self._begin)
            lines = map(_plain, stream.read().decode(errors="replace").splitlines())
            said = [line for line in lines if "Error: " in line]
            return said[-1] if said else ""
        return ""


def _plain(line: str) -> str:
    """A line of Flower's log without colours and its word for how grave it is."""
    bare = re.sub(r"\x1b\[[0-9;]*m", "", line)
    return re.sub(r"^[A-Z]+ *:\s*", "", bare).strip()


def _check_port(listen: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen, port))
        except OSError as error:
            raise ConfigError(
                f"port = {port}: cannot be listened on at {listen} ({error.strerror}); end what "
                "does, or change server.toml before anybody is invited"
            ) from None
