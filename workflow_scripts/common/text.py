"""What counts as the same text: used to find duplicates, copies and contamination in every script alike."""

import re
import unicodedata
from functools import cache

# Joiners are spelling in these scripts (Persian's half-space, Indic conjuncts), and a zero-width space is what separates Khmer words.
JOINING = {"Arab", "Beng", "Deva", "Gujr", "Guru", "Khmr", "Knda", "Mlym", "Mymr", "Olck", "Orya", "Sinh", "Taml", "Telu", "Tibt"}
WITHOUT_SPACES = {"Khmr", "Laoo", "Mymr", "Thai", "Tibt"}
# Soft hyphen, marks of direction, invisible operators and the byte order mark.
INVISIBLE = [0xAD, 0x34F, 0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC)]
LAST_SPACE = 0x3000  # the ideographic one; Unicode has none above it, and no control
SPACES = [code for code in range(LAST_SPACE + 1) if unicodedata.category(chr(code)) in ("Zs", "Zl", "Zp", "Cc")]
FORM = "nfc-visible"  # the name of `normal_form` in signatures


@cache
def _shown(script: str) -> tuple[re.Pattern[str], dict[int, str]]:
    """What `normal_form` changes besides composing: where to look, and what each character becomes."""
    gone = [*INVISIBLE, *([] if script in WITHOUT_SPACES else [0x200B]), *([] if script in JOINING else [0x200C, 0x200D])]
    table = dict.fromkeys(SPACES, " ") | dict.fromkeys(gone, "")
    odd = "".join(map(chr, table.keys() - {0x20}))
    return re.compile(f"[{re.escape(odd)}]|  "), table


def script_of(code: str) -> str:
    """The script of a FLORES-200 code."""
    return code.rpartition("_")[2]


def normal_form(text: str, script: str) -> str:
    """Composed (NFC), without what nobody sees, every run of white space one plain space; what the script needs stays.

    Cleaning (`normalise`) brings training text into this form, and scoring both sides of every comparison.
    """
    odd, table = _shown(script)
    if odd.search(text):  # few texts have anything to change, and looking takes a tenth of the time
        text = re.sub(" +", " ", text.translate(table))
    return unicodedata.normalize("NFC", text).strip(" ")


def folded(text: str) -> str:
    """NFKC, case-folded, letters, marks and digits only: "Café, no. 1!" and "CAFÉ NO 1" become equal.

    Combining marks stay, since in Indic, Thai, Tibetan and Khmer script they carry the vowels.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in text if char.isalnum() or unicodedata.category(char)[0] == "M")


def ngrams(text: str, size: int = 4) -> frozenset[str]:
    """The character n-grams of a folded text; a shorter text is one n-gram, an empty one has none."""
    text = folded(text)
    return frozenset(text[start : start + size] for start in range(max(1, len(text) - size + 1)) if text)


def alike(one: frozenset[str], other: frozenset[str], share: float = 0.6) -> bool:
    """Near-twins: at least this share of the n-grams of the shorter text stand in the other one too."""
    return bool(one and other) and len(one & other) >= share * min(len(one), len(other))


def unquoted(text: str) -> str:
    """A text without what an export to CSV put around it: quotation marks at both ends, and each one inside doubled.

    BELEBELE's passages and some of TICO-19's files are like that wherever a text holds a quotation mark.
    """
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        inner = text[1:-1].replace('""', "\0")
        if "\0" in inner and '"' not in inner:
            return inner.replace("\0", '"').strip()
    return text
