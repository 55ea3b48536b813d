"""What a page may say of itself: who has checked what is on it, when, and by whose key.

No page can vouch for itself: whoever can edit it can edit that line too. So the page that a run
writes says that nothing on it is verified, and how to have it verified; the page that `starling
verify --report` writes says what that found, and stands outside the run's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_WORDS = {
    "not verified": "The run wrote this page itself: all on it is what the run claims.",
    "verified": (
        "Every ε was recomputed from the ledgers, and every sealed file is as it was sealed."
    ),
    "not shown": "Nothing disagrees, and not everything is shown",
    "refuted": "Claims, ledgers and files disagree: do not rely on anything on this page.",
}


_MORE = {
    "not verified": "Whose key, and how to check",
    "verified": "How to check it again",
    "not shown": "What is not shown",
    "refuted": "What disagrees",
}


@dataclass(frozen=True)
class Standing:
    """Who has checked a page's claims.

    Attributes
    ----------
    verdict : {"not verified", "verified", "not shown", "refuted"}
        Of `starling verify`; the first where nobody asked it.
    when : datetime, optional
        Of the check, or of writing the page; None leaves it out.
    key : str, optional
        Public key of the seal, 64 hexadecimal digits.
    whose, by : str
        What is known of that key, in words; what program checked it.
    missing : sequence of str
        What is not shown, each in a few words.
    found : sequence of str
        Everything that disagrees or is not shown.
    """

    verdict: str = "not verified"
    when: datetime | None = None
    key: str | None = None
    whose: str = ""
    by: str = ""
    missing: Sequence[str] = ()
    found: Sequence[str] = ()

    @classmethod
    def of_a_run(cls, key: str | None) -> Standing:
        """Of the page that a run writes now, and seals by that key afterwards."""
        return cls(when=datetime.now(UTC), key=key)

    @property
    def words(self) -> str:
        """What the verdict says, in one sentence."""
        if self.verdict == "not shown":
            return f"{_WORDS[self.verdict]}: {'; '.join(self.missing)}."
        return _WORDS[self.verdict]

    @property
    def more(self) -> str:
        """What else the page says of that, as a link's words."""
        return _MORE[self.verdict]

    @property
    def kind(self) -> str:
        """One word: the verdict as a class of the page's style."""
        return self.verdict.replace(" ", "-")

    @property
    def date(self) -> str:
        """In UTC, to the minute; empty where it is left out."""
        return "" if self.when is None else f"{self.when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

    @property
    def checked(self) -> str:
        """When, and by whose key, as short as a person compares one."""
        key = self.key or ""
        whose = self.whose.replace(key, f"{key[:8]}…") if key else self.whose
        told = f"Checked {self.date}"
        return f"{told}: {whose}" if self.verdict == "verified" else told
