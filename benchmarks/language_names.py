"""How many languages each language of resources/templates.tsv has a name for, by CLDR; the others keep their own name there.

python benchmarks/language_names.py
"""

import sys
from pathlib import Path

from babel import Locale

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workflow_scripts.common import cldr, languages, tables


def main() -> None:
    rows = languages.registry()
    for written in sorted({row["language"] for row in tables.read("templates").values()} - {"eng_Latn"}):
        known = Locale.parse(cldr.identifiers(rows[written])[0]).languages
        lacking = [code for code, row in rows.items() if not any(name in known for name in cldr.identifiers(row))]
        print(f"{written}: {len(rows) - len(lacking)} of {len(rows)}; its own name: {' '.join(lacking)}")


if __name__ == "__main__":
    main()
