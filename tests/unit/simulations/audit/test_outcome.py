"""One verdict of many findings: what it takes to hold, and what it says."""

import json
import math

import pytest

from shared.canonical import finite
from simulations.audit.findings import Finding
from simulations.audit.outcome import Audit, Part

NEEDED = Finding("noise scale", "holds", "", "all of it", required=True)
LACKS = Finding("reproduced", "not shown", "", "another adapter", required=True)
BESIDE = Finding("epsilon, estimated", "not shown", "", "decides nothing")
WRONG = Finding("clip", "violated", "", "too long")
SEEN = Finding("control: noise off", "holds", "", "flagged")
BLIND = Finding("control: noise off", "violated", "", "not flagged")
ABSENT = Finding("control: noise off", "not shown", "", "on every message")
UNKNOWN = Finding("control: noise off", "not shown", "", "no canary", required=True)


def bound(verdict, most, claim=2.5):
    figures = {"bound": 0.5, "most deciding": most, "deciding claim": claim}
    return Finding("epsilon", verdict, "", "at least 0.5", figures)


@pytest.mark.parametrize(
    ("findings", "controls", "verdict", "word"),
    [
        ([NEEDED, BESIDE], [SEEN], "holds", "found: 1 checks passed, 1 could decide"),
        ([NEEDED], [ABSENT], "holds", "No violation"),
        ([NEEDED, WRONG], [SEEN], "violated", "VIOLATED: point: clip: too long."),
        ([NEEDED, LACKS, WRONG], [BLIND], "violated", "VIOLATED: point: clip"),
        ([NEEDED, LACKS], [SEEN], "not shown", "NOT SHOWN: point: reproduced: another adapter."),
        ([NEEDED], [BLIND], "not shown", "NOT SHOWN: point: control: noise off: not flagged."),
        ([NEEDED], [UNKNOWN], "not shown", "no canary"),
        ([BESIDE], [SEEN], "not shown", "NOT SHOWN"),
        ([], [], "not shown", "NOT SHOWN"),
        ([NEEDED, bound("holds", 3.0)], [SEEN], "holds", "In 1 cases guesses could have"),
        ([NEEDED, bound("not shown", 3.0)], [SEEN], "holds", "In 1 cases guesses could have"),
        (
            [NEEDED, bound("not shown", 2.0)],
            [SEEN],
            "holds",
            "they would have shown 2.00, of 2.5.",
        ),
        (
            [NEEDED, bound("not shown", 2.0, 8.0), bound("not shown", 9.0, math.inf)],
            [SEEN],
            "holds",
            "they would have shown 2.00, of 8.",
        ),
    ],
)
def test_a_verdict_is_no_better_than_what_was_shown(findings, controls, verdict, word):
    part = Part("point", "", findings=tuple(findings), controls=tuple(controls))
    audit = Audit({}, {}, (part,))
    assert audit.verdict == verdict
    assert word in audit.words
    again = Part.of(json.loads(json.dumps(finite(part.stated()))))
    assert Audit({}, {}, (again,)).words == audit.words
