"""One's own corpora through the workflow: files for each language, packages from any address, and what a new language touches."""

import hashlib
import io
import zipfile

import polars as pl
import pytest

from tests import workspace
from tests.fault_server import FaultServer
from workflow_scripts.common import ledger

ROWS = [
    ["mine", "", "tsv", "*.tsv", "en=1 {code}=2", "iso639", "CC0-1.0", "sentences", "Me"],
    ["opus-demo-en", "opus-demo-en-{code}", "moses", "*.{code}", "", "iso639", "CC-BY-4.0", "sentences", "Them"],
]
OVERRIDES = """
languages: [{languages}]
corpora:
  scratch-l10n: null
  django: null
  cldr-annotations: null
  mine: {{path: "{folder}/{{code}}.tsv"}}
  opus-demo-en: {{}}
decontamination: {{against: []}}
cleaning: [{{filter: letters}}, {{filter: copy}}, {{filter: duplicates}}]
mixtures: {{laptop: {{kept_out: []}}}}
models: {{gemma-3-270m: null, gemma-3-270m-trimmed: null, gemma-3-270m-lifted: null}}
evaluate: {{models: [], benchmarks: {{messages: null}}}}
"""
PIVOTS = "eng_Latn, zho_Hans"
GERMAN, SWAHILI, ZULU = (f"results/instructions/translation/{code}_Latn.parquet" for code in ("deu", "swh", "zul"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A copy of the repository with two corpora of one's own, run for German and Swahili; the server is not there any more."""
    place = tmp_path_factory.mktemp("sources")
    folder = workspace.copy(place / "pivotlift")
    (place / "mine").mkdir()
    (place / "mine/de.tsv").write_text("Good morning\tGuten Morgen\nThank you\tDanke\n", encoding="utf-8")
    (place / "mine/sw.tsv").write_text("Good morning\tHabari za asubuhi\n", encoding="utf-8")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        zipped.writestr("Demo.de-en.de", "Das Haus ist alt.\n")
        zipped.writestr("Demo.de-en.en", "The house is old.\n")
    content = packed.getvalue()
    with FaultServer() as server:
        url = server.file("/OPUS-Demo/v1/moses/de-en.txt.zip", content, ["cut"])
        package = ["opus-demo-en-de", "url", url, "v1", "file", hashlib.sha256(content).hexdigest(), str(len(content)), "CC-BY-4.0", ""]
        for name, rows in (("corpora", ROWS), ("packages", [package])):
            with (folder / f"resources/{name}.tsv").open("a", encoding="utf-8") as table:
                table.writelines("\t".join(row) + "\n" for row in rows)
        configure(folder, "deu_Latn, swh_Latn")
        workspace.snakemake(folder, "--configfile", "own.yaml", "--cores", "2", "--", GERMAN, SWAHILI)
    return folder


def configure(folder, languages):
    (folder / "own.yaml").write_text(OVERRIDES.format(languages=f"{PIVOTS}, {languages}", folder=folder.parent / "mine"), encoding="utf-8")


def test_pairs_of_both_sources_keep_corpus_and_licence(folder):
    pairs = pl.read_parquet(folder / "results/corpora/deu_Latn.parquet").sort("target")
    assert pairs.select("corpus", "licence", "source", "target").rows() == [
        ("mine", "CC0-1.0", "Thank you", "Danke"),
        ("opus-demo-en", "CC-BY-4.0", "The house is old.", "Das Haus ist alt."),
        ("mine", "CC0-1.0", "Good morning", "Guten Morgen"),
    ]
    assert (folder / "results/downloads/opus-demo-en-de.archive").exists()


def test_a_source_without_the_language_is_named_in_its_ledger(folder):
    facts = ledger.read(folder / "results/corpora/swh_Latn.ledger.csv")
    reasons = {fact.subject: fact.reason for fact in facts if fact.measure == "rows_kept"}
    assert reasons == {"mine": "", "opus-demo-en": "n/a: not in this corpus"}


def test_a_new_language_touches_only_itself(folder):
    (folder.parent / "mine/zu.tsv").write_text("Good morning\tSawubona\n", encoding="utf-8")
    (folder.parent / "mine/sw.tsv").write_text("Good morning\tHabari za asubuhi\nThank you\tAsante\n", encoding="utf-8")
    configure(folder, "deu_Latn, swh_Latn, zul_Latn")
    counts = workspace.planned(folder, GERMAN, SWAHILI, ZULU, "--configfile", "own.yaml")
    assert counts == {"read_language": 2, "corpus": 2, "translation": 2}  # Zulu, and Swahili, whose file has changed
