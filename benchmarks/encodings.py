"""What `mojibake` and `script` find and wrongly accuse, on lines of FLORES-200 devtest in all its languages.

    python benchmarks/encodings.py --flores flores200_dataset.tar.gz

Broken lines are the real ones in UTF-8, read as ISO 8859-1 and as Windows-1252 (where that has all their bytes). For
`script`, lines of simplified Chinese are looked for in traditional and the other way round, whatever else they hold.
No line is printed, and neither are more than counts by language.
"""

import argparse
import sys
from pathlib import Path

import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workflow_scripts.common import archives
from workflow_scripts.corpora.filters import FILTERS

CHINESE = ("zho_Hans", "zho_Hant", "yue_Hant")


def dropped(name: str, texts: list[str], code: str) -> int:
    """How many of the texts one filter drops."""
    table = pl.DataFrame({"source": ["Hello"] * len(texts), "target": texts})
    keep = FILTERS[name]({"min_share": 0}, ("eng_Latn", code))
    return table.select(keep.alias("keep"))["keep"].to_list().count(False)


def broken(text: str) -> list[str]:
    """The text as programs show it that take UTF-8 for something else."""
    found = []
    for encoding in ("latin-1", "cp1252"):
        try:
            found.append(text.encode().decode(encoding))
        except UnicodeDecodeError:
            continue
    return [one for one in found if one != text]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", type=Path, required=True)
    arguments = parser.parse_args()
    lines = {
        Path(name).stem: content.decode().splitlines() for name, content in archives.members(arguments.flores, ["*/devtest/*.devtest"])
    }
    noise = {code: [one for text in texts for one in broken(text)] for code, texts in lines.items()}
    found = sum(dropped("mojibake", texts, code) for code, texts in noise.items())
    accused = {code: count for code, texts in lines.items() if (count := dropped("mojibake", texts, code))}
    print(f"mojibake: {found} of {sum(map(len, noise.values()))} broken lines found,")
    print(f"{sum(accused.values())} of {sum(map(len, lines.values()))} good ones accused: {accused}")
    for code in CHINESE:
        counts = {other: dropped("script", lines[code], other) for other in CHINESE}
        print(f"script: of {len(lines[code])} lines in {code} are dropped as no", counts)


if __name__ == "__main__":
    main()
