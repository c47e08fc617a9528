"""How fast text is searched for that of FLORES-200, and what is found of lines that were planted in disguise.

    python benchmarks/contamination.py --flores flores200_dataset.tar.xz --texts nllb_seed.tar.xz results/corpora/raw/scratch-l10n.parquet

--texts: what is searched, and known not to be FLORES: Parquet with a column `text`, or an archive of plain text. Nothing of any text is
printed, only numbers.

Speed: lines a minute of several processes together, each searched for every line of every language in the archive at once; and, as when a
corpus is cleaned, for those of one language and the pivots. Reading texts and making the index are not in it, and are given apart.

Planted: every devtest line of a language in the given disguises, searched for in the index of all languages; found means that the very line
is named. False alarms: an index of the even items of devtest in all languages, searched for by the odd ones; and all the other texts.
"""

import argparse
import json
import multiprocessing
import random
import re
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import polars as pl  # noqa: E402

from workflow_scripts.common import archives, contamination, files  # noqa: E402
from workflow_scripts.common.text import folded  # noqa: E402

LANGUAGES = ("eng_Latn", "arb_Arab", "tha_Thai", "khm_Khmr", "bod_Tibt", "zho_Hans")
SETTINGS = {"ngram": 4, "similarity": 0.6}  # of the recipes
SHARES = {"one word changed": 0.0, "a tenth of the words": 0.1, "a fifth": 0.2}
KINDS = ("exact", "re-cased", "re-punctuated", *SHARES, "in a longer text")
PIVOTS = ("eng_Latn", "zho_Hans")
SEED = 1

Line = tuple[tuple[str, str, int], str]  # language, split and item; text
index = contamination.Index([], SETTINGS)


def flores(archive: Path) -> list[Line]:
    """All lines, of one file after the other."""
    found = {}
    for name, content in archives.members(archive, ["*/dev/*.dev", "*/devtest/*.devtest"]):
        language, split = Path(name).name.split(".")
        found.update({(language, split, item): text for item, text in enumerate(content.decode("utf-8").splitlines())})
    return sorted(found.items())


def read(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)["text"].to_list()
    return [text for _, content in archives.members(path, ["*"]) for text in content.decode("utf-8").splitlines() if text]


def find(texts: list[str]) -> tuple[int, float]:
    """How many texts hold a line, and the CPU seconds that took."""
    start = time.process_time()
    return sum(label is not None for label in index.find(texts)), time.process_time() - start


def measure(name: str, lines: list[Line], texts: list[str], processes: int) -> None:
    global index
    start = time.perf_counter(), time.process_time()
    index = contamination.Index(lines, SETTINGS)
    made = time.process_time() - start[1]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        list(pool.map(find, [texts[:100]] * processes))
        wall = time.perf_counter()
        found = pool.map(find, [texts[part::processes] for part in range(processes)], chunksize=1)
        wall = time.perf_counter() - wall
    cpu = sum(seconds for _, seconds in found)
    print(
        f"| {name} | {len(lines):,} | {made:.1f} | {len(texts):,} | {wall:.1f} | {cpu:.1f} | {60 * len(texts) / wall:,.0f} | "
        f"{60 * processes * len(texts) / cpu:,.0f} | {sum(hits for hits, _ in found)} |",
        flush=True,
    )


def words(line: str) -> list[str]:
    """Words, syllables (Tibetan), or three letters for a word where nothing stands between words; what separates them is kept."""
    found = re.findall(r"[^\s་]+[\s་]*", line)
    return found if len(found) > len(line) / 12 else re.findall(r".{1,3}", line)


def changed(line: str, other: str, share: float, choose: random.Random) -> str:
    """At least one word, and this share of them, put in place of by one of another line."""
    parts, others = words(line), words(other)
    for place in choose.sample(range(len(parts)), max(1, round(share * len(parts)))):
        parts[place] = choose.choice(others)
    return "".join(parts)


def punctuated(line: str, choose: random.Random) -> str:
    """Without its own marks, in quotation marks, with other marks and spaces between words."""
    bare = [re.sub(r"[^\w\s\u0300-\u036f\u0900-\u109f\u1780-\u17d3\u0e00-\u0fff]|_", "", word).strip() for word in words(line)]
    return "«" + "".join(word + choose.choice(["  ", " - ", ", ", "\u00a0", "; "]) for word in bare if word) + "» ..."


def disguise(kind: str, line: str, other: str, texts: list[str], choose: random.Random) -> str:
    if kind == "re-cased":
        return line.upper()
    if kind == "re-punctuated":
        return punctuated(line, choose)
    if kind == "in a longer text":
        return f"{choose.choice(texts)} {line} {choose.choice(texts)}"
    return changed(line, other, SHARES[kind], choose) if kind in SHARES else line


def planted(lines: list[Line], texts: list[str]) -> None:
    """Recall. Uses the index of all languages."""
    print(f"\n| planted, % found | lines | {' | '.join(KINDS)} |\n| --- | {'--- | ' * (len(KINDS) + 1)}")
    for language in LANGUAGES:
        own = [(label, text) for label, text in lines if label[:2] == (language, "devtest")]
        cells = []
        for kind in KINDS:
            choose = random.Random(f"{SEED} {language} {kind}")
            hidden = [disguise(kind, text, own[number - 1][1], texts, choose) for number, (_, text) in enumerate(own)]
            found = index.find_all(hidden)
            same = kind == "re-cased" and all(text == line for text, (_, line) in zip(hidden, own, strict=True))
            hits = sum(label in labels for (label, _), labels in zip(own, found, strict=True))
            cells.append("no case" if same else f"{100 * hits / len(own):.1f}")
        print(f"| {language} | {len(own):,} | {' | '.join(cells)} |", flush=True)


def together(texts: list[str], count: int) -> list[str]:
    return [" ".join(texts[start : start + count]) for start in range(0, len(texts), count)]


def false_alarms(lines: list[Line]) -> None:
    """Odd items against even ones; those that hold the same text were in FLORES twice."""
    known = {folded(text) for (_, split, item), text in lines if split == "devtest" and item % 2 == 0}
    even = contamination.Index([line for line in lines if line[0][1] == "devtest" and line[0][2] % 2 == 0], SETTINGS)
    lengths = (1, 4, 16, 64)
    print(f"\n| false alarms | {' | '.join(f'{count} together' if count > 1 else 'single lines' for count in lengths)} |")
    print(f"| --- | {'--- | ' * len(lengths)}")
    for language in LANGUAGES:
        odd = [text for (code, split, item), text in lines if (code, split) == (language, "devtest") and item % 2]
        odd = [text for text in odd if folded(text) not in known]
        cells = []
        for count in lengths:
            found = even.find(together(odd, count))
            cells.append(f"{sum(label is not None for label in found)} of {len(found)}")
        print(f"| {language} | {' | '.join(cells)} |", flush=True)


def guards(lines: list[Line], archive: Path) -> None:
    """BELEBELE's passages are runs of FLORES lines: what an index of the one finds of the other."""
    print("\n| one guards the other | lines in a passage | found by passages | other lines | found | passages | found by lines |")
    print("| --- " * 7 + "|")
    for name, content in archives.members(archive, ["*.jsonl"]):
        language = Path(name).stem
        passages = sorted({json.loads(line)["flores_passage"] for line in content.decode("utf-8").splitlines()})
        whole = dict(zip(passages, map(folded, passages), strict=True))
        joined = " ".join(whole.values())
        own = [text for (code, *_), text in lines if code == language]
        inside, outside = ([text for text in own if (folded(text) in joined) is wanted] for wanted in (True, False))
        # Passages made of a split that the archive lacks in this language cannot be found.
        own = [folded(line) for line in inside]
        known = [passage for passage in passages if any(line in whole[passage] for line in own)]
        items = [{"item": number, "flores_passage": passage} for number, passage in enumerate(passages)]
        with tempfile.TemporaryDirectory() as folder:
            files.write_json(Path(folder, "x.json"), {"benchmark": "belebele", "language": language, "items": items})
            parts = [line.text for line in contamination.benchmark_lines([Path(folder, "x.json")])]
        by_passages, by_lines = (contamination.Index([("", text) for text in texts], SETTINGS) for texts in (parts, inside))
        searches = ((by_passages, inside), (by_passages, outside), (by_lines, known))
        found = [f"{len(texts):,} | {sum(label is not None for label in index.find(texts)):,}" for index, texts in searches]
        print(f"| {language} | {' | '.join(found)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", type=Path, required=True, help="the archive of FLORES-200")
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    parser.add_argument("--belebele", type=Path, help="the archive of BELEBELE, to see whether one guards the other")
    parser.add_argument("--lines", type=int, default=200_000, help="texts that are searched, drawn from all, at most")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    lines = flores(arguments.flores)
    texts = [text for path in arguments.texts for text in read(path)]
    random.Random(SEED).shuffle(texts)
    texts = texts[: arguments.lines]
    average, languages = sum(map(len, texts)) / len(texts), len({code for (code, *_), _ in lines})
    print(f"{len(texts):,} texts, {average:.0f} characters on average; {languages} languages\n")
    print("| searched for | lines | index, CPU s | texts | wall s | CPU s | texts a minute, wall | by CPU | found |")
    print("| --- " * 9 + "|")
    few = [line for line in lines if line[0][0] in ("swh_Latn", *PIVOTS)]
    measure("Swahili and the pivots", few, texts, arguments.processes)
    measure("all languages at once", lines, texts, arguments.processes)
    planted(lines, texts)
    false_alarms(lines)
    if arguments.belebele:
        guards(lines, arguments.belebele)
    print(f"\npeak memory of one process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
