"""What counts as the same text: used to find duplicates, copies and contamination in every script alike."""

import unicodedata


def folded(text: str) -> str:
    """NFKC, case-folded, letters, marks and digits only: "Café, no. 1!" and "CAFÉ NO 1" become equal.

    Combining marks stay, since in Indic, Thai, Tibetan and Khmer script they carry the vowels.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in text if char.isalnum() or unicodedata.category(char)[0] == "M")


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
