"""Whether an answer only repeats a text that it was shown."""

from difflib import SequenceMatcher

from ..common.text import folded

SAME = 0.9  # likeness of two folded texts, by matching blocks (Ratcliff and Obershelp 1988), that makes one a copy


def is_copy(answer: str, shown: str, reference: str) -> bool:
    """The answer is nearly the text shown (source or worked example), or holds all of it, where the reference does not."""
    shown = folded(shown)
    return repeats(folded(answer), shown) and not repeats(folded(reference), shown)


def repeats(text: str, shown: str) -> bool:
    """Whether a folded text is nearly another one, or holds it."""
    if not text or not shown:
        return False
    match = SequenceMatcher(None, text, shown, autojunk=False)
    return shown in text or (match.real_quick_ratio() >= SAME and match.quick_ratio() >= SAME and match.ratio() >= SAME)
