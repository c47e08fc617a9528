"""What counts as the same text: used to find duplicates, copies and contamination in every script alike."""

import unicodedata


def folded(text: str) -> str:
    """NFKC, case-folded, letters, marks and digits only: "Café, no. 1!" and "CAFÉ NO 1" become equal.

    Combining marks stay, since in Indic, Thai, Tibetan and Khmer script they carry the vowels.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(char for char in text if char.isalnum() or unicodedata.category(char)[0] == "M")
