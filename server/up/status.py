"""How a server stands: from its files, and from its SuperLink where that is up.

All of it is for the operator. Who is connected and how many answered is known to whoever runs the
server, and is in no release: see `docs/server.md`.
"""

from __future__ import annotations

import math
from typing import Any

import httpx

from server.checkpoint import load
from server.cohort.declined import read_declined
from server.up.authority import lasts, until_of
from server.up.conduct import STATE, asking
from server.up.folder import ServerFolder
from server.up.invitations import enrolled, left
from shared.errors import ConfigError
from shared.files import FolderLock, read_record
from shared.privacy.ledger.ledger import Ledger
from shared.run_files import RunFolder

_HELP = {
    "up": "Whether a process serves the folder.",
    "nodes_enrolled": "Invitations that a node used, and that were not revoked.",
    "nodes_revoked": "Invitations that were revoked.",
    "nodes_online": "Nodes that are connected now.",
    "users": "People that the run rests on.",
    "rounds_done": "Rounds that were completed.",
    "rounds": "Rounds that are to be run.",
    "epsilon_spent": "By the ledger; absent where nothing was noised.",
    "release": "Version of the last release; 0: none.",
    "certificate_days": "For which the server's certificate still holds; below 0 it does not.",
}


def status_of(folder: ServerFolder) -> dict[str, Any]:
    """How a server stands.

    Returns
    -------
    dict
        `up`, `run` (not begun, running, interrupted, complete), rounds, `nodes` by invitation,
        `nodes_online` (None: unknown, it is not up), invitations, epsilon and delta (None: nothing
        was noised, or no release yet), certificate, `declined` (round -> word -> devices),
        `opened` (of each sum that is asked for once, whether enough devices were in it), `release`.
    """
    served, files, config = folder.served, folder.files, folder.config
    up = _is_up(folder)
    online = _online(folder) if up else None
    came = enrolled(folder.invitations)
    until = until_of(folder.certificate, folder.authority)
    state, file = load(files.checkpoint), RunFolder(folder.run).results
    results = read_record(file, ()) if file.exists() else {}
    complete = results.get("complete") is True
    done = config.federation.fixed_rounds if complete else state.round_number if state else 0
    begun = "running" if up else "interrupted"
    word = "complete" if complete else begun if state else "not begun"
    point = (results.get("points") or [{}])[0]
    return {
        "folder": str(folder.path),
        "up": up,
        "run": word,
        "users": served.users,
        "rounds_done": done,
        "rounds": config.federation.fixed_rounds,
        "invitations_left": left(folder.invitations),
        "nodes_enrolled": sum(bool(each.node) and not each.revoked for each in came),
        "nodes_revoked": sum(each.revoked is not None for each in came),
        "nodes_online": None if online is None else len(online),
        "nodes": [
            {
                "invitation": each.name,
                "node": None if each.node is None else str(each.node),
                "online": None if online is None else each.node in online,
                "revoked": each.revoked,
            }
            for each in came
        ],
        **_spent(folder),
        "declined": {str(n): counts for n, counts in read_declined(folder.declined).items()},
        "opened": point.get("opened"),
        "released_metrics": point.get("released_metrics"),
        "release": folder.latest,
        "certificate_days": until.days,
        "certificate": lasts(until),
    }


def in_words(found: dict[str, Any]) -> str:
    """A status as lines."""
    online = found["nodes_online"]
    there = "not up" if online is None else f"{online} connected"
    lines = [
        f"run: {found['run']}, {found['rounds_done']} of {found['rounds']} rounds",
        f"nodes: {found['nodes_enrolled']} enrolled, {there}; the run rests on {found['users']}",
        f"invitations that nobody used yet: {found['invitations_left']}",
        *map(_in_a_line, found["nodes"]),
    ]
    if found["noised"] and found["epsilon_spent"] is not None:
        lines.append(f"spent: epsilon {found['epsilon_spent']:.4g} at delta {found['delta']:g}")
    elif found["noised"]:
        lines.append("spent: nothing yet")
    else:
        lines.append("spent: not counted, the run adds no noise")
    if found["declined"]:
        lines.append("devices that declined, by their word:")
    for number, counts in found["declined"].items():
        said = ", ".join(f"{word} {count}" for word, count in counts.items())
        lines.append(f"  round {number}: {said}")
    for name, value in (found["released_metrics"] or {}).items():
        lines.append(f"validation, from devices: {name} {value}")
    lines.append(f"last release: {found['release'] or 'none'}")
    lines.append(f"certificate: {found['certificate']}")
    return "\n".join(lines)


def _in_a_line(node: dict[str, Any]) -> str:
    number = f"node {node['node']}" if node["node"] else "no node"
    online = {None: "", True: ", connected", False: ", not connected"}[node["online"]]
    revoked = f", revoked at {node['revoked']}" if node["revoked"] else online
    return f"  invitation {node['invitation']}: {number}{revoked}"


def metrics(found: dict[str, Any]) -> str:
    """A status as Prometheus reads it; what is unknown is absent."""
    lines = []
    for name, told in _HELP.items():
        value = found[name]
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        lines += [
            f"# HELP starling_{name} {told}",
            f"# TYPE starling_{name} gauge",
            f"starling_{name} {float(value):g}",
        ]
    if found["declined"]:
        lines += [
            "# HELP starling_declined Devices that declined in a round, by their word.",
            "# TYPE starling_declined gauge",
        ]
    for number, counts in found["declined"].items():
        for word, count in counts.items():
            lines.append(f'starling_declined{{round="{number}",word="{word}"}} {count}')
    return "\n".join(lines)


def _spent(folder: ServerFolder) -> dict[str, Any]:
    noised = math.isfinite(folder.config.privacy.epsilon)
    if not folder.files.ledger.exists():
        return {"noised": noised, "epsilon_spent": None, "delta": None}
    ledger = Ledger.recover(folder.files.ledger, repair=False)
    header = ledger.header.guarantee
    return {"noised": noised, "epsilon_spent": ledger.epsilon(), "delta": header.delta}


def _is_up(folder: ServerFolder) -> bool:
    lock = FolderLock(folder.path)
    try:
        with lock:
            lock.take()
            return False
    except ConfigError:
        return True


def _online(folder: ServerFolder) -> set[int] | None:
    """Numbers of the nodes that are connected; None: nobody answers."""
    if not (folder.flower / STATE).exists():
        return None
    with asking(folder) as link:
        try:
            return {node.number for node in link.nodes() if node.online}
        except httpx.HTTPError:
            return None
