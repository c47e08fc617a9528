"""Scripts of languages.tsv as Unicode names them."""

# Those that are not one Unicode script: what stands inside `\p{sc=...}`.
UNICODE_SCRIPTS = {"Hans": "Hani", "Hant": "Hani", "Jpan": "Hani}\\p{sc=Hira}\\p{sc=Kana", "Kore": "Hang}\\p{sc=Hani"}


def letters_of(script: str) -> str:
    """A regular expression of polars for one letter of the script. Simplified and traditional Chinese are not told apart."""
    return rf"[\p{{sc={UNICODE_SCRIPTS.get(script, script)}}}&&\p{{L}}]"
