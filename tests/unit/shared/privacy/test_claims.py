"""Every sentence about privacy: in one table, where it says, with something behind it."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from shared.privacy import claims, sentences
from tests.support import ROOT, house

SAID = [one for _, said in claims.all_said() for one in said]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# About privacy, in the words of people.
SUBJECT = re.compile(
    r"\b(epsilon|budget|privacy|private|protects?|protected|trusted|adversary|attack\w*|"
    r"attacker|anonym\w*|guarantee\w*|hidden|noise[d]?|ledgers?)\b|[εδ]",
    re.IGNORECASE,
)
WORDS = 8  # fewer are a label
# What prints, and where its other long strings about privacy come from.
PRINTING = (
    *("simulations.report", "simulations.commands", "simulations.doctor", "simulations.api"),
    *("simulations.verify.run", "simulations.trackers"),
    *("simulations.audit.report", "simulations.audit.words", "simulations.audit.outcome"),
    *("server.app", "server.cohort.silence", "client.commands.gate", "client.device.rehearsal"),
    *("client.commands.person", "client.person", "client.page"),
    *("shared.privacy.ledger.promise", "shared.privacy.policy.show", "shared.privacy.policy.caps"),
)
TEMPLATES = sorted((ROOT / "simulations").rglob("*.html"))


def flat(text):
    return " ".join(text.split())


def test_the_page_is_the_tables():
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == claims.page()


def test_every_sentence_has_a_row():
    """By its function: a sentence that no row shows is one that nobody looked behind."""
    text = Path(claims.__file__).read_text(encoding="utf-8")
    public = [
        name
        for name, value in inspect.getmembers(sentences, inspect.isfunction)
        if value.__module__ == sentences.__name__
        and not name.startswith("_")
        and name not in ("number", "at_most", "at_least")
    ]
    assert len(public) > 15
    assert [name for name in public if f"sentences.{name}(" not in text] == []


@pytest.mark.parametrize("one", SAID, ids=lambda one: flat(one.text)[:40])
def test_what_is_behind_a_sentence_is_there(one):
    if one.behind == "-":
        return
    if one.behind.startswith("tests/"):
        file, _, name = one.behind.partition("::")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name.startswith("test_")
        assert name in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        return
    module, _, name = one.behind.rpartition(".")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("one", SAID, ids=lambda one: flat(one.text)[:40])
def test_a_sentence_stands_word_for_word_on_the_pages_that_say_it(one):
    for where in one.where:
        if where.endswith(".md"):
            page = flat((ROOT / where).read_text(encoding="utf-8"))
            assert flat(one.text) in page, where


# Said before, and false: exact sums are not all that a server receives; budgets of groups do not
# multiply; delta is not the chance of failure; who knows the rounds is not held by the amplified
# figure; units are not converted; the number of people is public.
FALSE = {
    "sums": r"trusted with exact sums?\b",
    "multiplied": r"(covered by|times) (k|that many) times (the|this) (budget|ε)",
    "failing": (
        r"(fail|save|except)\w*\s+with\s+(a\s+)?probability\s+(at most\s+)?(δ|delta)"
        r"|chance that the bound fails"
    ),
    "whoever": r"alone, whatever the attacker knows",
    "converted": r"promises? a person\s+(no more than|what) a\s+user-level",
    "neighbours": r"\badd[_/ ]?(or )?remove\b|one unit more or less|whether that person took part",
}


def told():
    """All prose that people read: pages, and every string in the source."""
    for page in PAGES:
        yield page.name, flat(page.read_text(encoding="utf-8"))
    for name, module in house.modules().items():
        if name.split(".")[0] in ("client", "server", "shared", "simulations"):
            yield name, flat(module.text)
    for page in TEMPLATES:
        yield page.name, flat(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", FALSE)
def test_nothing_says_again_what_was_false(kind):
    pattern = re.compile(FALSE[kind], re.IGNORECASE)
    assert [
        (where, found[0]) for where, text in told() for found in [pattern.search(text)] if found
    ] == []


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("sums", "the server itself is trusted with exact sums"),
        ("multiplied", "A group of k units is covered by k times the budget"),
        ("failing", "The bound may fail with probability at most δ"),
        ("failing", "change by at most e^ε, save with probability δ"),
        ("whoever", "It follows from ε and δ alone, whatever the attacker knows"),
        ("converted", "promises a person what a user-level ε of 32 would"),
        ("neighbours", "`add_remove`: one unit more or less"),
    ],
)
def test_what_was_said_before_is_found(kind, text):
    assert re.search(FALSE[kind], text, re.IGNORECASE)


def literals(tree):
    """Strings that may be printed: not docstrings, not errors, not the help of an option."""
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            skipped |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name.endswith(("Error", "Option", "Argument")):
                skipped |= {id(inner) for inner in ast.walk(node)}
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))  # a docstring
        if isinstance(node, ast.JoinedStr) and id(node) not in skipped:
            skipped |= {id(inner) for inner in ast.walk(node) if inner is not node}
            yield "".join(
                part.value if isinstance(part, ast.Constant) else "…" for part in node.values
            )
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in skipped
        ):
            yield node.value


def statements(tree):
    """Without tags, whose words are nobody's to read."""
    texts = (flat(re.sub(r"</?[a-z!][^<>]*>", " ", text)) for text in literals(tree))
    return [text for text in texts if SUBJECT.search(text) and len(text.split()) >= WORDS]


def of_template(page):
    """Sentences about privacy between the tags of a template."""
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    calls = r"{{ tables\.\w+\(.*?\) }}"  # of macros: each of their strings stands by itself
    inside = [said for call in re.findall(calls, page) for said in re.findall('"([^"]*)"', call)]
    page = re.sub(calls, "", page)
    between = re.findall(r">([^<>]+)<", page)
    texts = [flat(re.sub(r"{%.*?%}", "", text)) for text in (*between, *inside)]
    return [text for text in texts if SUBJECT.search(text) and len(text.split()) >= WORDS]


def test_sentences_about_privacy_stand_nowhere_else():
    known = {flat(text) for text in claims.PRINTED}
    found = [
        f"{name}: {text}"
        for name, module in house.modules().items()
        if name.startswith(PRINTING)
        for text in statements(ast.parse(module.text))
        if text not in known
    ]
    found += [
        text
        for page in TEMPLATES
        for text in of_template(page.read_text("utf-8"))
        if text not in known
    ]
    assert found == []


def test_no_row_is_of_a_sentence_that_is_gone():
    printed = {
        text
        for name, module in house.modules().items()
        if name.startswith(PRINTING)
        for text in statements(ast.parse(module.text))
    }
    printed |= {text for page in TEMPLATES for text in of_template(page.read_text("utf-8"))}
    assert [text for text in claims.PRINTED if text not in printed] == []


def test_a_planted_sentence_is_found():
    tree = ast.parse(
        '"""Doc."""\nprint(f"Your data are protected by {x} from every attack there is")'
    )
    assert statements(tree) == ["Your data are protected by … from every attack there is"]
    planted = "<p>Nobody can attack what this page has here to say.</p>"
    assert len(of_template(planted)) == 1
    planted = '{{ tables.heads(["ε", "Nobody can attack what this column has here to say"]) }}'
    assert len(of_template(planted)) == 1
