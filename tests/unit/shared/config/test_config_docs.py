"""The page of settings is what the settings say."""

import dataclasses

import pytest

from shared.config import ExperimentConfig, to_dict
from shared.config import docs as config_docs
from shared.errors import ConfigError
from tests.support import ROOT

PAGE = ROOT / "docs" / "configuration.md"


def test_the_page_is_fresh():
    rewrite = "rewrite it: python -m shared.config.docs docs/configuration.md"
    assert PAGE.read_text(encoding="utf-8") == config_docs.configuration_page(), rewrite


def test_every_setting_is_on_the_page():
    page = config_docs.configuration_page()
    tree = to_dict(ExperimentConfig())
    for section in dict(config_docs.sections()):
        part = page.split(f"## `[{section}]`")[1].split("\n## ")[0]
        assert all(f"| `{name}` |" in part for name in tree[section])
    assert "| `seed` | `0` |" in page.split("## Outside any section")[1]


def test_comments_beside_and_above_a_field_are_its_meaning():
    @dataclasses.dataclass
    class Example:
        """Not a comment."""

        beside: int = 1  # the one
        # two lines
        # above
        above: int = 2
        silent: str = "# not a comment"
        wrapped: tuple = (  # opens here
            1,
        )

    assert config_docs.comments(Example) == {
        "beside": "the one",
        "above": "two lines above",
        "wrapped": "opens here",
    }


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 2, "maximum": 9}, "integer, at least 2, at most 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "number, above 0"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer, or unset"),
        ({"type": "array", "items": {"enum": ["a", "b"], "type": "string"}}, "list of: `a`, `b`"),
        ({"const": "user", "type": "string"}, "`user`"),
        ({"type": "boolean"}, "`true`, `false`"),
    ],
)
def test_ranges_in_words(schema, words):
    assert config_docs.accepted(schema) == words


def test_a_setting_without_a_meaning_is_refused(monkeypatch):
    monkeypatch.setattr(config_docs, "comments", lambda kind: {})
    with pytest.raises(ConfigError, match=r"data\.spec: nothing says what it means"):
        config_docs.configuration_page()
