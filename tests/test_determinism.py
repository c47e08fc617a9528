"""From the sources to the mixture: the same bytes with other threads, hash seeds, folders, and orders of the inputs."""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import polars as pl
import pytest

from tests.test_kinds import DIALOGUES, sentence
from workflow_scripts.common import files
from workflow_scripts.common.ledger import read as read_ledger
from workflow_scripts.corpora import clean, read
from workflow_scripts.instructions import constrained, interactive, terms, translation
from workflow_scripts.mixtures import mix

ROOT = Path(__file__).resolve().parents[1]
CODES = {"eng_Latn": "en", "deu_Latn": "de", "zho_Hans": "zh-cn"}
CLEANING = {
    "pivots": ["eng_Latn", "zho_Hans"],
    "empty_corpus": "stop",
    "decontamination": {"ngram": 4, "similarity": 0.6},
    "cleaning": [
        {"filter": "normalise"},
        {"filter": "length", "min": 2, "max": 400},
        {"filter": "median_ratio", "max": 3, "min_pairs": 100},
        {"filter": "copy"},
        {"filter": "duplicates"},
        {"filter": "near_duplicates", "similarity": 0.9},
        {"filter": "alignment", "margin": 4, "min_pairs": 100},
    ],
}
KINDS = {
    translation: {"templates": ["en-01", "zh-02"]},
    constrained: {"templates": ["en-constrained", "zh-terms"]},
    interactive: json.loads(DIALOGUES),
}
MIXTURE = {
    "examples": 900,
    "shares": {"cross-lingual": 1.0},
    "kinds": {"translation": 2, "constrained": 1, "interactive": 1},
    "temperature": 3,
    "cap": 700,
    "repeats": 1,
    "corpus_caps": {"django": 0.2},
    "seed": 5,
    "decontamination": {"against": ["test"], "languages": ["deu_Latn", "eng_Latn", "nld_Latn", "zho_Hans"], "ngram": 4, "similarity": 0.6},
}


def messages() -> list[tuple[str, str, str, str]]:
    """Key and text in English, German and Chinese; every seventh text is there a second time."""
    draw = random.Random(3)
    texts = [sentence(draw)[:3] for _ in range(500)]
    return [(f"{number:04}", *texts[number - number % 7 // 6]) for number in range(500)]


def sources(folder: Path, backwards: bool) -> Path:
    """An archive laid out as scratch-l10n is; `backwards` its files and their messages come in the opposite order."""
    members = {
        f"package/{part}/demo/{code}.json": {row[0]: row[place] for row in messages()[::step] if int(row[0]) % 2 == half}
        for half, part in enumerate(("www", "editor"))
        for place, code in enumerate(CODES.values(), 1)
        for step in [-1 if backwards else 1]
    }
    path = folder / "scratch-l10n.archive"
    with tarfile.open(path, "w") as archive:
        for name in sorted(members, reverse=backwards):
            content = json.dumps(members[name]).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def chain(folder: Path, backwards: bool) -> None:
    """All steps from two corpora to a mixture below `folder`, as the rules call them; `backwards` with every list the other way round."""
    step = -1 if backwards else 1
    raw = [folder / f"{name}.parquet" for name in ("scratch-l10n", "django")]
    read.main(["--corpus", "scratch-l10n", "--source", str(sources(folder, backwards)), "--output", str(raw[0])])
    own_text = pl.col("key").str.contains("[02468]$")  # of another corpus, whose other messages are those of the first
    text = pl.when(own_text).then(pl.col("text") + " bis").otherwise(pl.col("text"))
    pl.read_parquet(raw[0]).with_columns(text).write_parquet(raw[1])
    # "Dutch" test text that German messages hold: a German corpus is not searched for it, a mixture with Dutch in it is.
    asked = [(code, place, messages()[40:60]) for place, code in enumerate(CODES, 1)] + [("nld_Latn", 2, messages()[60:80])]
    held = [folder / f"benchmarks/test/{code}.json" for code, _, _ in asked]
    for path, (code, place, rows) in zip(held, asked, strict=True):
        items = [{"split": "devtest", "item": int(row[0]), "text": row[place]} for row in rows]
        files.write_json(path, {"benchmark": "test", "language": code, "items": items})
    for language in ("deu_Latn", "zho_Hans"):
        pairs = folder / f"{language}.parquet"
        lists = ["--corpora", *map(str, raw[::step]), "--benchmarks", *map(str, held[:3][::step])]
        own = ["--language", language, "--output", str(pairs), "--ledger", str(pairs.with_suffix(".csv"))]
        clean.main([*lists, "--settings", json.dumps(CLEANING), *own, "--dropped", str(folder / f"{language}.dropped.csv")])
        found = folder / f"terms/{language}.parquet"
        common = ["--pairs", str(pairs), "--language", language]
        terms.main([*common, "--output", str(found), "--ledger", str(found.with_suffix(".csv"))])
        for module, settings in KINDS.items():
            out = folder / f"{module.__name__.split('.')[-1]}/{language}.parquet"
            options = ["--settings", json.dumps(settings), "--output", str(out), "--ledger", str(out.with_suffix(".csv"))]
            module.main([*common, *([] if module is translation else ["--terms", str(found)]), *options])
    inputs = sorted(str(path) for kind in MIXTURE["kinds"] for path in (folder / kind).glob("*.parquet"))
    options = ["--mixture", "m", "--settings", json.dumps(MIXTURE), "--output", str(folder / "m.parquet")]
    options += ["--benchmarks-folder", str(folder / "benchmarks"), "--ledger", str(folder / "m.csv")]
    mix.main([*options, "--instructions", *inputs[::step]])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The chain twice, in processes of their own that differ in all that must not matter."""
    made = []
    for backwards in (False, True):
        folder = tmp_path_factory.mktemp("backwards" if backwards else "forwards")
        (folder / "temporary").mkdir()
        own = {"POLARS_MAX_THREADS": "3", "OMP_NUM_THREADS": "2"} if backwards else {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
        own |= {"PYTHONHASHSEED": str(7 + backwards), "TMPDIR": str(folder / "temporary")}
        command = [sys.executable, "-m", "tests.test_determinism", str(folder), *(["backwards"] if backwards else [])]
        subprocess.run(command, cwd=ROOT, env=os.environ | own, check=True, stdout=subprocess.DEVNULL)
        assert not list((folder / "temporary").iterdir())
        made.append(folder)
    return made


def test_the_same_bytes_from_the_sources_to_the_mixture(runs: list[Path]) -> None:
    one, other = ({str(path.relative_to(folder)): path for folder in [run] for path in folder.rglob("*.*")} for run in runs)
    assert list(one) and sorted(one) == sorted(other)
    different = [name for name in sorted(one) if one[name].suffix != ".archive" and one[name].read_bytes() != other[name].read_bytes()]
    assert different == []
    assert one["scratch-l10n.archive"].read_bytes() != other["scratch-l10n.archive"].read_bytes()


def test_every_step_of_the_chain_had_something_to_do(runs: list[Path]) -> None:
    mixture = pl.read_parquet(runs[0] / "m.parquet")
    assert set(mixture["kind"]) == set(MIXTURE["kinds"]) and set(mixture["corpus"]) == {"scratch-l10n", "django"}
    ledger = (runs[0] / "deu_Latn.csv").read_text(encoding="utf-8")
    assert "contaminated:test" in ledger and "dropped:duplicates" in ledger
    left_out = {fact.language: fact.value for fact in read_ledger(runs[0] / "m.csv") if fact.measure == "contaminated:test"}
    assert left_out["deu_Latn"] and not left_out["zho_Hans"]


if __name__ == "__main__":
    chain(Path(sys.argv[1]), backwards="backwards" in sys.argv[2:])
