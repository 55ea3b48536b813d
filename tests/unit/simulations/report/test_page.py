"""The page: well formed, self-contained, escaped, honest, and whole when results are not."""

import html
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from shared.errors import DataError
from simulations.report import Standing
from tests.support.reports import budget_rows, gain_rows, promise_rows, render, write_report
from tests.unit.simulations.report.conftest import restated

VOID = {"meta", "br", "link", "img", "hr", "input"}
LOADING = {"src", "srcset", "data", "action", "poster", "background"}


class Checker(HTMLParser):
    """Collects text, ids and requests; complains of tags that do not match."""

    def __init__(self):
        super().__init__()
        self.open, self.problems, self.requests, self.ids = [], [], [], []
        self.tags, self.text, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.note(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.note(tag, attrs)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.text.append(data)

    def note(self, tag, attrs):
        self.tags.append(tag)
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in LOADING or (key.endswith("href") and not value.startswith("#")):
                self.requests.append((tag, key, value))
            if key.startswith("on"):
                self.problems.append(f"{tag} {key}")
            self.links += re.findall(r"url\(#([^)]+)\)", value or "")
            if key == "href":
                self.links.append(value.removeprefix("#"))


def check(page):
    """The visible text of a page that is well formed and asks nobody for anything."""
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.problems
    assert not checker.open
    assert not checker.requests
    assert "script" not in checker.tags
    assert len(set(checker.ids)) == len(checker.ids)
    assert set(checker.links) <= set(checker.ids)
    assert not re.search(r"@import|url\((?!#)|https?://", page)
    assert "None" not in checker.text
    assert "nan" not in " ".join(checker.text).split()
    return " ".join(" ".join(checker.text).split())


def test_the_page_is_written_well_formed_and_self_contained(results, tmp_path):
    path = write_report(results, tmp_path)
    assert path == tmp_path / "report.html"
    page = path.read_text(encoding="utf-8")
    text = check(page)
    assert page.count("<svg") == 5  # a panel for each metric, and noise beside signal
    assert "default-src 'none'" in page
    assert "@media print" in page
    assert text.startswith("Starling report: MovieLens-100K")


def test_the_verdict_comes_first_then_the_figure_then_budgets_then_the_rest(results):
    page = render(results)
    text = check(page)
    order = (
        "Not verified. The run wrote this page itself: all on it is what the run claims.",
        *("at most 0.998, 1.996, 3.992 or 7.984 , by model ( user-level )", "δ 0.0001"),
        "To each of 943 people, with all that they ever contributed",
        "Against anyone who sees every released model, but not who was sampled",
        "Trusted the server, with each device's own contributions",
        *("HR@10, among at most 99 sampled negatives", "Measured for the evaluator"),
        *("The budgets of every model What each model spent.", "Protected User-level"),
        *("Who vouches for it, and how to check No page", "For the evaluator only."),
    )
    found = [text.find(words) for words in order]
    assert -1 not in found, order[found.index(-1)]
    assert found == sorted(found)
    links = re.findall(r'<li><a href="#([^"]+)">', page)
    assert links == re.findall(r'<h2 id="([^"]+)">', page)
    assert len(links) == 8


def test_what_is_protected_and_against_whom(results):
    text = check(render(results))
    for sentence in (
        "everything that one user ever contributed",
        "and the other has nothing of it",
        "δ is not the probability that more than ε is lost",
        "above ε with probability 0.0005, 5 δ",
        "where one has ε = 7.99, 2 have 19.8 and 4 have infinity at the same δ",
        "is held by ε = 9.5 for a unit in 2 of them (the expected number)",
        "in 2 sums: 9.5, 100%",
        "anyone who sees every released model, but not who was sampled",
        "receives each device's own clipped contributions before that, and must be trusted with",
        "The points marked ∞ have no privacy at all",
        "evaluator only, not released",
        "starling verify DIR",
    ):
        assert sentence in text, sentence


def test_all_three_accountants_every_ledger_and_the_intervals_are_shown(results):
    text = check(render(results))
    point = results["points"][9]
    for value in (f"{point['epsilon']:.3f}", "8.623", "8.064", point["ledger"]["head"]):
        assert value in text, value
    assert all(point["ledger"]["file"] in text for point in results["points"])
    assert "0.520 0.479 to 0.561" in text  # mean over three seeds, and over people
    assert "3; over users and seeds" in text
    assert "123 MB" in text
    assert "federation.cohort" in text


def test_the_page_says_among_what_was_ranked_no_more_and_no_less(results):
    assert "among at most 99 sampled negatives" in check(render(results))
    drawn = results["data"]["negatives_drawn"] = {"least": 99, "median": 99.0, "certain": 0}
    assert "ranked among 99 sampled negatives; " in check(render(results))
    drawn |= {"least": 4, "median": 60.5, "certain": 17}
    text = check(render(results))
    assert "ranked among as few as 4 sampled negatives (median 60.5; 99 asked for); " in text
    assert "Warning. For 17 of 943 people HR@10 is 1 whatever ranks" in text
    assert "among 99 sampled" not in text
    results["data"]["evaluated_users"] = 1
    assert "Warning. 1 person is evaluated" in check(render(results))


def test_what_a_point_is_not_above_is_called_out(compared):
    text = check(render(compared))
    assert "Warning. At epsilon 1: not shown above popularity (HR@10" in text
    assert "At epsilon 8" not in text
    assert "epsilon 8: above popularity, zero-shot, local only, in all metrics" in text
    for point in compared["points"]:
        point["metrics"]["hr@10"] -= 0.2 if point["epsilon_target"] == 1.0 else 0.0
    text = check(render(restated(compared)))
    assert "Warning. At epsilon 1: below popularity, local only (HR@10); not shown above" in text
    assert "-0.219 -0.252 to -0.185" in text


def test_the_point_without_privacy_is_called_out_as_well(compared):
    for point in compared["points"]:
        point["metrics"]["hr@10"] -= 0.5 if point["epsilon_target"] == "inf" else 0.0
    text = check(render(restated(compared)))
    assert "Warning. At epsilon inf: below popularity (HR@10)" in text


def test_no_share_is_of_another_model(compared):
    """The point at infinity is another model, and gains are shared with the same one alone."""
    text = check(render(compared))
    assert "kept of ε = ∞" not in text
    gains = {
        (row["reference"], row["epsilon"]): row["cells"]["hr@10"] for row in gain_rows(compared)
    }
    # popularity .419, the same model without noise .508, at epsilon 8 .520, without noise .71
    assert gains["popularity", "8"]["share"] == f"{100 * 0.101 / 0.089:.0f}%"
    assert gains["popularity", "∞"]["share"] == ""
    assert gains["popularity", "1"]["share"] == ""  # nothing is shown to be gained
    assert gains["no noise, same model", "1"]["verdict"] == "below"
    del compared["references"]["same_model"]
    assert all(not row["cells"]["hr@10"]["share"] for row in gain_rows(compared))
    compared["config"]["private"] = {}  # then the point at infinity is the same model
    shares = {
        (r["reference"], r["epsilon"]): r["cells"]["hr@10"]["share"] for r in gain_rows(compared)
    }
    assert shares["popularity", "8"] == f"{100 * 0.101 / 0.291:.0f}%"


def test_nothing_is_called_better_by_overlapping_intervals(compared):
    """A point a little above popularity, within the interval of the difference."""
    for point in compared["points"]:
        point["metrics"]["hr@10"] = 0.425 + 0.001 * point["seed"]
    text = check(render(restated(compared)))
    assert text.count("not shown above popularity (HR@10") == 2 * 5  # warning and list, each point
    assert "better" not in text
    assert "beats" not in text


def test_every_value_from_the_results_is_escaped(results):
    attack = "\"'><script>alert(1)</script>&$x_1$"

    def poison(value):
        if isinstance(value, dict):
            return {key: poison(item) for key, item in value.items()}
        if isinstance(value, list):
            return [poison(item) for item in value]
        return attack if isinstance(value, str) and value != "inf" else value

    poisoned = poison(results)
    poisoned["references"][attack] = {"metrics": {"hr@10": 0.3}}
    poisoned["config"][attack] = attack
    page = render(poisoned)
    text = check(page)
    assert "<script>" not in page
    assert attack in html.unescape(text)


def test_an_incomplete_run_says_so_and_names_what_is_missing(results):
    results["complete"] = False
    results["points"] = [p for p in results["points"] if (p["epsilon"], p["seed"]) != ("inf", 2)]
    text = check(render(results))
    assert "This run is incomplete. Planned but not here: ε ∞, seed 2." in text


def test_a_point_that_spent_more_than_its_target_is_called_out(results):
    results["points"][0]["epsilon"] = 1.2
    assert "The point at ε 1, seed 0 spent 1.2: more than its target." in check(render(results))


def only(results, *targets, seeds=(0,)):
    results["points"] = [
        p for p in results["points"] if p["epsilon_target"] in targets and p["seed"] in seeds
    ]
    return results


def test_one_private_point_without_references(results):
    del results["references"]
    text = check(render(only(results, 8.0)))
    assert "Popularity was not measured" in text
    assert "1; over users" in text
    assert "The points marked ∞" not in text


def test_infinity_alone_protects_nothing_and_says_so(results):
    text = check(render(only(results, "inf")))
    assert "Nothing is protected: no model in this run" in text
    assert "the probability of any event" not in text


def test_an_unknown_unit_is_never_described_as_a_known_one(results):
    for point in results["points"]:
        point["unit"], point["trust"] = "household", "nobody"
    text = check(render(results))
    assert "The privacy unit is “household”, which this page does not explain." in text
    assert "The trust model is “nobody”, which this page does not explain." in text
    assert "everything that one user ever contributed" not in text


OPTIONAL = {
    "budget": ["epsilon_rdp", "epsilon_prv", "delta"],
    "claim": ["unit", "relation", "trust", "adversary", "metrics_status"],
    "mechanism": ["noise_multiplier", "histogram_noise_multiplier", "clipping_norm"],
    "rounds": ["rounds", "sampling_probability", "cohort", "history"],
    "cost": ["communication_bytes", "trained_parameters", "seconds"],
    "origin": ["seed", "ledger", "validation"],
}


@pytest.mark.parametrize("keys", OPTIONAL.values(), ids=OPTIONAL)
def test_a_point_without_optional_keys_still_makes_a_page(results, keys):
    only(results, 8.0)
    results["points"] = [
        {key: value for key, value in point.items() if key not in keys}
        for point in results["points"]
    ]
    assert "0.508" in check(render(results))


def test_bare_points_and_no_points_make_a_page(results):
    metrics = {"hr@10": 0.5}
    bare = {"points": [{"epsilon_target": 8.0, "epsilon": 7.9, "metrics": metrics}]}
    text = check(render(bare))
    assert "0.500" in text
    assert "The results do not name an adversary." in text
    text = check(render(results | {"points": [], "complete": False}))
    assert "There is no curve yet: no point has finished." in text


KEY = "ab" * 32
CHECKED = {"when": datetime(2026, 11, 28, 9, 30, 59, tzinfo=UTC), "key": KEY}


def test_a_page_says_who_checked_it_when_and_by_whose_key_and_no_more(results):
    text = check(render(results, Standing(**CHECKED)))
    assert "Starling 0.1.0, 2026-11-28 09:30 UTC" in text
    assert f"The run said that it would be sealed by the key {KEY}" in text
    assert "Verified." not in text
    checked = {**CHECKED, "whose": f"sealed by {KEY}, the key that was named", "by": "Starling 9"}
    text = check(render(results, Standing("verified", **checked)))
    first = text.index("Verified. Every ε was recomputed from the ledgers")
    short = "Checked 2026-11-28 09:30 UTC: sealed by abababab…, the key that was named."
    assert text.index(short) > first
    assert (
        "starling verify of Starling 9 read the run that this page is of: it is sealed by" in text
    )
    assert "the key that was named. This page is that reader's record and in no seal" in text
    assert "Not verified" not in text


@pytest.mark.parametrize("verdict", ["not shown", "refuted"])
def test_what_disagrees_or_is_not_shown_is_listed_whole(results, verdict):
    found = ["point 8: claims 7, and its ledger shows <b>9</b>", "not here"]
    page = render(results, Standing(verdict, missing=["it is incomplete"], found=found))
    text = check(page)
    assert {"not shown": "What is not shown", "refuted": "What disagrees"}[verdict] in text
    words = {
        "not shown": "Not shown. Nothing disagrees, and not everything is shown: it is incomplete.",
        "refuted": "Refuted. Claims, ledgers and files disagree: do not rely on anything on this",
    }
    assert words[verdict] in text
    assert "its ledger shows <b>9</b> not here" in text
    assert f'class="verdict {verdict.replace(" ", "-")}"' in page


def test_a_point_above_its_target_is_promised_what_it_spent(results):
    results["points"][9]["epsilon"] = 8.5
    assert promise_rows(results)[0]["epsilon"] == "0.998, 1.996, 3.992 or 8.5"
    assert "Warning. The point at ε 8, seed 0 spent 8.5" in check(render(results))


def test_seeds_share_a_row_only_where_every_figure_agrees(results):
    assert [row["seed"] for row in budget_rows(results)] == ["0, 1, 2"] * 5
    results["points"][10]["epsilon_prv"] = 9.0
    rows = [(row["target"], row["seed"]) for row in budget_rows(results) if row["target"] == "8"]
    assert rows == [("8", "0, 2"), ("8", "1")]


def test_every_mark_can_be_reached_and_says_its_numbers(results):
    page = render(results)
    marks = re.findall(
        r'<g id="([^"]+)" class="tip" tabindex="0" role="img" aria-label="([^"]+)"', page
    )
    assert len(marks) == 4 * 5 + 4
    said = dict(marks)
    assert said["hr-10-tip-3"].startswith("ε 8 (spent 7.984): hr@10 0.520")
    assert said["noise-tip-0"].startswith("ε 1: 13.6 in round 1")
    shown = re.findall(r'<g class="readout"><rect [^>]*/><text [^>]*>([^<]+)', page)
    assert [words[:12] for words in shown] == [words[:12] for _, words in marks]
    # Else a screen reader reads every tick twice, and what is in a picture not at all.
    assert page.count('role="group" aria-label=') == 5


def test_every_colour_of_a_figure_is_one_of_the_page_in_light_and_in_dark(compared):
    page = render(compared)
    style = page[page.index("<style>") : page.index("</style>")]
    figures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    used = set(re.findall(r"var\((--[\w-]+)\)", figures))
    assert {"--ink", "--page", "--model", "--popularity", "--shade-0"} <= used
    assert re.findall(r"#[0-9a-f]{6}", figures, re.IGNORECASE) == []
    light, _, dark = style.partition("prefers-color-scheme: dark")
    for name in used | set(re.findall(r"var\((--[\w-]+)\)", style)):
        assert f"{name}:" in light, name
        assert f"{name}:" in dark, name


def test_a_real_run_is_no_simulation_and_measured_nothing():
    point = {
        "epsilon_target": 8.0,
        "epsilon": 7.9,
        "unit": "user",
        "trust": "central",
        "delta": 0.1,
    }
    text = check(render({"name": "autumn", "points": [point], "data": {"users": 6}}))
    assert "What was promised: autumn" in text
    assert "a real run measures no accuracy that was not released" in text
    for false in ("This is a simulation", "For the evaluator only", "Popularity was not measured"):
        assert false not in text


def test_the_same_results_give_the_same_page(results):
    assert render(results) == render(json.loads(json.dumps(results)))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"schema": 2}, "not results of schema 1"), ({"points": None}, "points: expected a list")],
)
def test_results_of_another_schema_are_refused(results, change, message):
    with pytest.raises(DataError, match=message):
        render(results | change)
