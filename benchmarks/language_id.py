"""How well offline language identifiers know the languages of FLORES-200: per-language recall, and the table the scores use.

    python benchmarks/language_id.py --flores flores200_dataset.tar.gz
    python benchmarks/language_id.py --flores flores200_dataset.tar.gz --lines 200 --write resources/language_id.tsv
    pip install heliport && python benchmarks/language_id.py --flores ... --also heliport

Each identifier reads every line of devtest twice: the sentence, and its opening (six words; 20 characters where there are not eight), since
answers can be short. A language is covered where the identifier has a label for it: the ISO 639 code of languages.tsv or the code that
its other columns use, so the label "ar" stands for arb_Arab and for no dialect. Recall is the share of its lines that get this label.

--write names for each language the covering identifier with the higher mean of both recalls (a tie goes to the first), and the languages
half of whose sentences get the same label: text in those counts as text in this one. What the identifiers were trained on is not known in
full; if FLORES is part of it, the figures are too high.
"""

import argparse
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.common import files, language_id, languages  # noqa: E402

OWN_CODES = {"he": "iw", "jv": "jw", "nb": "no", "zh-hans": "zh", "zh-hant": "zh-Hant"}  # CLD2's, where they are old or its own
Recall = dict[str, tuple[str, float, float]]  # by language: label, recall on sentences, recall on openings


def heliport() -> tuple[Callable[[str], str], set[str]]:
    from heliport import Identifier

    identifier = Identifier()
    return lambda text: identifier.identify(text, ignore_confidence=True), set(identifier.get_confidence_all())


def cld2() -> tuple[Callable[[str], str], set[str]]:
    import pycld2

    return language_id.cld2, {code for name, code in pycld2.LANGUAGES if name in pycld2.DETECTED_LANGUAGES}


def py3langid() -> tuple[Callable[[str], str], set[str]]:
    return language_id.py3langid, set(language_id._langid().labels)


CANDIDATES = {"py3langid": py3langid, "cld2": cld2, "heliport": heliport}


def devtest(source: Path) -> dict[str, list[str]]:
    """Lines of devtest by language, from the official archive or its folder."""
    if source.is_dir():
        texts = {path.stem: path.read_text(encoding="utf-8") for path in source.rglob("*.devtest")}
    else:
        with tarfile.open(source) as archive:
            members = [member for member in archive if member.name.endswith(".devtest")]
            texts = {Path(member.name).stem: archive.extractfile(member).read().decode("utf-8") for member in members}
    return {code: texts[code].removesuffix("\n").split("\n") for code in sorted(texts)}


def opening(sentence: str) -> str:
    words = sentence.split()
    return " ".join(words[:6]) if len(words) >= 8 else sentence[:20]


def codes_of(language: languages.Language) -> set[str]:
    """What an identifier may call the language."""
    columns = [language.iso639_3, *(code.split("_")[0] for code in (language.code, language.flores_plus))]
    wide = [language.mediawiki, language.django, language.cldr]
    found = {*columns, *wide, *(code.split("-")[0].split("_")[0] for code in wide)} - {""}
    return found | {OWN_CODES[code] for code in found if code in OWN_CODES}


def measure(texts: dict[str, list[str]], name: str) -> tuple[Recall, dict[str, Counter[str]]]:
    """Recall of each covered language, and the labels of every language's sentences."""
    identify, labels = CANDIDATES[name]()
    sentences = {code: Counter(map(identify, lines)) for code, lines in texts.items()}
    openings = {code: Counter(map(identify, map(opening, lines))) for code, lines in texts.items()}
    recall = {}
    for code, lines in texts.items():
        if known := sorted(codes_of(languages.get(code)) & labels):
            label = max(known, key=lambda one: sentences[code][one])
            recall[code] = (label, *(100 * found[code][label] / len(lines) for found in (sentences, openings)))
    return recall, sentences


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", required=True, type=Path, help="official archive of FLORES-200, or its folder")
    parser.add_argument("--lines", type=int, help="of each language, so many; all if not given")
    parser.add_argument("--also", nargs="*", default=[], choices=sorted(set(CANDIDATES) - set(language_id.IDENTIFIERS)))
    parser.add_argument("--details", type=Path, help="per-language recall of each identifier, as a TSV")
    parser.add_argument("--write", type=Path, help="the table for resources/")
    args = parser.parse_args()
    texts = {code: lines[: args.lines] for code, lines in devtest(args.flores).items()}
    print("identifier  covered  >= 80 %  >= 95 %  mean recall, sentences / openings  CPU s")
    recalls: dict[str, Recall] = {}
    sentences = {}
    for name in [*language_id.IDENTIFIERS, *args.also]:
        start = time.process_time()
        recalls[name], sentences[name] = measure(texts, name)
        report(name, recalls[name], time.process_time() - start)
    best: dict[str, str] = {}
    for code in texts:
        if covering := [name for name in language_id.IDENTIFIERS if code in recalls[name]]:
            best[code] = max(covering, key=lambda name: sum(recalls[name][code][1:]))
    report("best of own", {code: recalls[name][code] for code, name in best.items()}, 0)
    if args.details:
        lines = [f"{code}\t{name}\t{found[0]}\t{found[1]:.1f}\t{found[2]:.1f}" for name in recalls for code, found in recalls[name].items()]
        files.write_text(args.details, "\n".join(["language\tidentifier\tlabel\tsentences\topenings", *lines]) + "\n")
    if args.write:
        rows = ["language\tidentifier\tlabel\tsentences\topenings\ttaken_for_it"]
        for code, name in best.items():
            label, *both = recalls[name][code]
            same = [other for other, found in sentences[name].items() if other != code and found[label] >= len(texts[other]) / 2]
            rows.append("\t".join([code, name, label, *(f"{value:.1f}" for value in both), " ".join(same)]))
        files.write_text(args.write, "\n".join(rows) + "\n")


def report(name: str, recall: Recall, seconds: float) -> None:
    first, second = ([found[place] for found in recall.values()] for place in (1, 2))
    counts = [sum(value >= floor for value in first) for floor in (80, 95)]
    means = [sum(values) / len(values) for values in (first, second)]
    print(f"{name:<12}{len(recall):7} {counts[0]:8} {counts[1]:8} {means[0]:24.1f} / {means[1]:.1f} {seconds:12.1f}")


if __name__ == "__main__":
    main()
