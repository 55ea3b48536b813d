"""The words that say nothing of an item: all that may stand between titles, attributes and years.

A closed list, because what is not on it could be a title, a name or a claim. Whatever a writer
says with another word is not shown. No negation is on it: "never" turns a true sentence round.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


PLAIN = _words(
    """
    a an the this that these those it its they their them one ones some all both each other
    others another i me my we our you your yours yourself he she his her who whom whose which
    what person user reader viewer someone people is are was were be been being am has have had
    having do does did can could may might will would should seems seem appears appear and or
    but so as because since while when where if then also too either besides along together of
    in on at by to from with for about into over across between among through after before
    during around under up out within toward towards such like alike similar again still even
    just only mainly mostly most more many much several often usually especially particularly
    primarily largely generally typically always very quite slightly strongly clearly equally
    lately recently recent latest late now today present first second last next choose chooses
    chose chosen choosing choice choices pick picks picked met watch watches watched watching
    see sees saw seen read reads reading buy bought history list likes liked liking love loves
    loved loving enjoy enjoys enjoyed enjoying enjoyment prefer prefers preferred preference
    preferences favor favors favour favours favorite favourite favorites favourites taste tastes
    interest interests interested interesting appreciate appreciates appreciation tend tends
    tended drawn leaning leans lean fond fan fans keen range ranges ranging mix mixed mixes
    blend variety varied various diverse wide broad broader combination combine combines balance
    balanced spans span spanning include includes included including cover covers focus focuses
    focused focusing follow follows followed film films movie movies picture pictures title
    titles item items thing things work works product products genre genres kind kinds category
    categories type types style styles theme themes era eras decade decades year years time
    times period recommend recommends recommended recommendation recommendations suggest
    suggests suggested suggestion reason reasons match matches matched fit fits fitting share
    shares shared common described same way ways part parts order model lot number shown shows
    show belongs belong fall falls comes come came go goes made makes make get gets spend spends
    find finds found say says said explains explain profile overall compared catalogue frequent
    weigh weighs
    """
)
# Claims of order: of what leads alone. Of time: of what is recent alone. Of all: of what is true of
# everything chosen. Of the person's opinion: of what they said they like, where a title is named.
LEADING = _words(
    "most mostly mainly especially particularly primarily largely generally typically usually "
    "often favorite favourite favorites favourites overall"
)
RECENT = _words("lately recently recent latest late now today last")
WHOLE = _words("all only just always each equally")
OPINION = _words(
    "liked likes love loves loved enjoy enjoys enjoyed prefer prefers preferred favorite favourite "
    "favorites favourites fond fan fans keen appreciate appreciates favors favours"
)
_COUNTS = (
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)
NUMBERS = {word: number for number, word in enumerate(_COUNTS, start=2)}
_TENS = ("twen", "thir", "for", "fif", "six", "seven", "eigh", "nine")
DECADES = {f"{word}ties": 1900 + 10 * number for number, word in enumerate(_TENS, start=2)}
