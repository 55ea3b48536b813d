"""Every field of `results.json` must be one that a run writes: any other stands unchecked.

What is written is `shared.leaves`' table. Where a row of it ends in a star, `_INSIDE` says what the
star may hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shared.data.protocol import CUTOFF, DRAWN
from shared.data.split import MIN_EVALUATED
from shared.leaves import Section, sections
from shared.metrics import NOT_RELEASED
from shared.privacy.contribution.evaluation import ABOUT
from simulations.results import POPULARITY_FROM, VERSIONS, Results, Stated

_METRIC = r"(?:(?:full_)?(?:hr@10|ndcg@10|mrr)(?:_se)?|users)"
_RANKED = rf"(?:(?:metrics|validation)\.{_METRIC}|metrics_status)"
_PAIR = r"(?:full_)?(?:hr|ndcg)@10\.(?:difference|se|low|high|verdict)"
_ENVIRONMENT = (
    f"{'|'.join(VERSIONS)}|cpus|workers|threads|device|dtype|batching|checkpointing|backbone_sha256"
)
_PART = r"(?:points\[\]|references\.\w+)"
# Checked elsewhere to the letter: settings, events, meaning, correlation, what a release says.
_INSIDE = re.compile(
    rf"config\..*|seal\.(?:files\..*|public_key|signature)"
    rf"|(?:{_PART}\.environments\[\]|environment)\.(?:{_ENVIRONMENT})"
    r"|points\[\]\.(?:releases\.\w+\.(?:times|event\..*)|meaning\..*|correlation\.\w+"
    r"|ledger\.(?:file|entries|head)|opened\.(?:histogram|moments)|communication_bytes\.(?:up|down)|epsilon_(?:rdp|prv)"
    rf"|released_metrics\.(?:{'|'.join(ABOUT)}|selected_round|releases\[\]\..*)"
    r"|history\[\]\.(?:participants|failures|signal_norm|noise_norm|hr@10|ndcg@10)"
    rf"|{_RANKED}|references\.(?:popularity_private|start)\.(?:{_RANKED}|computed_from)"
    rf"|compared(?:\.\w+(?:\.{_PAIR})?)?)"
    rf"|references\.\w+\.(?:{_RANKED}|epochs|seconds)"
    rf"|references\.same_model\.(?:seed|rounds|cohort|trained_parameters|clipping_norm"
    rf"|references(?:\.start\.{_RANKED})?|compared(?:\.\w+(?:\.{_PAIR})?)?)"
    rf"|compared\[\]\.(?:epsilon_target|seeds\[\]|with(?:\.\w+(?:\.{_PAIR})?)?)"
)
_EXAMPLE = "points[].example."
# Where a run writes words; everywhere else are numbers, yes or no, nothing, or "inf".
_WORDS = re.compile(
    rf"starling|name|data\.(?:spec|name)|(?:{_PART}\.environments\[\]|environment)\..*"
    r"|config\..*|seal\..*"
    r"|points\[\]\.(?:(?:unit|relation|trust|adversary|adapter|noise|ledger\.(?:file|head))"
    rf"|releases\..*|released_metrics\.(?:{'|'.join(ABOUT)})|.*metrics_status|.*computed_from)"
    r"|references\..*\.metrics_status|.*\.verdict"
)
_LABELS = {"metrics_status": NOT_RELEASED, "computed_from": POPULARITY_FROM}


def field_problems(results: Results) -> list[str]:
    """Fields that no run writes, words where figures belong, and labels other than the one."""
    table, known, found = sections()["results"], dict[str, bool](), []
    for path, value in _leaves(results.stated, ""):
        if path not in known:
            known[path] = _is_written(path, value, table)
        if not known[path]:
            found.append(f"{path[:99]!r}: no field of a run's results; it must not be there")
        elif isinstance(value, str) and value != "inf" and not _WORDS.fullmatch(_outer(path)):
            found.append(f"{path} = {value[:60]!r} claimed: expected no words")
        elif (given := _LABELS.get(path.rpartition(".")[2], value)) != value:
            found.append(
                f"{path} = {str(value)[:60]!r} claimed, and no ledger entry covers these figures: "
                f"expected {given!r}"
            )
    return [f"results.json: {problem}" for problem in dict.fromkeys(found)]


def protocol_problems(results: Results) -> list[str]:
    """Where what is stated of the negatives contradicts settings, items and people.

    How many interactions people have is not looked up: the data is not a reader's.
    """
    data, drawn = Stated(results.data), Stated(Stated(results.data).table(DRAWN))
    if not results.simulated:
        return []
    asked = Stated(Stated(results.config).table("data"))
    wanted, limit = asked.number("negatives"), asked.number("evaluated_users")
    least, median, certain = (drawn.number(name) for name in ("least", "median", "certain"))
    evaluated, most = data.number("evaluated_users"), data.number("items") - MIN_EVALUATED
    holds = (
        data.number("negatives") == wanted
        and 1 <= least <= median <= wanted
        and median <= most
        and 0 <= certain <= evaluated <= data.number("users")
        and evaluated >= 1
        and not evaluated > limit
        and (certain > 0) == (least < CUTOFF)
        and (2 * certain >= evaluated or median >= CUTOFF)
    )
    told = f"{data.get('negatives')}, {dict(drawn.stated)}"[:99]
    return [] if holds else [f"results.json: data: negatives {told} contradict settings and items"]


def _outer(path: str) -> str:
    """What is stated of the examples' guarantee has the same names as of the other."""
    return path.replace(_EXAMPLE, "points[].", 1)


def _is_written(path: str, value: object, table: Section) -> bool:
    if value in ({}, []):  # whether anything could be in it
        inside = (f"{path}.", f"{path}[")
        return any(leaf.name.startswith(inside) for leaf in table.leaves) or any(
            _INSIDE.fullmatch(_outer(name))
            for name in (path, f"{path}.x", f"{path}[]", f"{path}[].x")
        )
    leaf = table.find(_outer(path))
    return leaf is not None and ("*" not in leaf.name or bool(_INSIDE.fullmatch(_outer(path))))


def _leaves(tree: object, at: str) -> Iterator[tuple[str, object]]:
    """Everything that is no object or list, or an empty one, by its path."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            # Only files' names have these letters: elsewhere a name would pass for a path.
            plain = at == "seal.files" or not re.search(r"[.\[\]]", name)
            inner = f"{at}.{name}" if at else name
            yield from _leaves(value, inner) if plain else [(f"{at}.{name!r}", value)]
    elif isinstance(tree, list) and tree:
        for value in tree:
            yield from _leaves(value, f"{at}[]")
    else:
        yield at, tree
