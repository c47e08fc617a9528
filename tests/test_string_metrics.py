"""String metrics: the same digits as sacrebleu's command line, in several scripts, and its counts for any text."""

import dataclasses
import io
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import TER, lib_ter
from sacrebleu.significance import _bootstrap_resample

from workflow_scripts.common import files, languages, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.text import FORM
from workflow_scripts.scores import edits, metrics, ngrams, resampling, translation

from .test_scores import CHINESE, ENGLISH, GERMAN, LIFTED

ARCHIVE = tables.ROOT.parent / "shared" / "data" / "flores200_dataset.tar.xz"
ONE = [text if number % 2 else text[: len(text) // 2] for number, text in enumerate(GERMAN)]
TWO = [text[: len(text) // 2 + 1] if number % 2 else text for number, text in enumerate(GERMAN)]
SETTINGS: dict[str, Any] = {"metrics": [], "resamples": 1000, "significance": "bootstrap", "spm": {}}
NAMES = {"chrF2++": "chrF++", "BLEU": "BLEU", "TER": "TER"}


def sacrebleu(folder: Path, *arguments: str, **texts: list[str]) -> str:
    """What sacrebleu's own command line prints for references and systems."""
    for name, lines in texts.items():
        (folder / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    first, *systems = texts
    command = [sys.executable, "-m", "sacrebleu", first, "-i", *systems, *arguments, "--chrf-word-order", "2", "--width", "14"]
    environment = os.environ | {"SACREBLEU": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True, encoding="utf-8").stdout


def board(name: str, target: str, references: list[str], settings: dict[str, Any] = SETTINGS, **systems: list[str]) -> translation.Board:
    metric = translation.build(name, target, settings)
    assert isinstance(metric, metrics.StringMetric)
    return translation.Board(metric, references, systems, settings)


@pytest.mark.parametrize(
    ("target", "references", "system", "options"),
    [
        ("deu_Latn", GERMAN, LIFTED, ["--tokenize", "13a"]),
        ("zho_Hans", CHINESE, CHINESE[1:] + CHINESE[:1], ["--tokenize", "zh", "--ter-normalized", "--ter-asian-support"]),
    ],
)
def test_scores_and_intervals_equal_sacrebleu_to_the_last_digit(
    tmp_path: Path, target: str, references: list[str], system: list[str], options: list[str]
) -> None:
    printed = sacrebleu(tmp_path, "-m", "chrf", "bleu", "ter", *options, "--confidence", references=references, system=system)
    for found in json.loads(printed):
        row = board(NAMES[found["name"]], target, references, system=system).estimate("system")
        assert f"{row['value']:.14f}" == f"{found['score']:.14f}"
        assert row["signature"] == f"{found['signature']}|form:{FORM}"
        assert row["low"] == pytest.approx(found["confidence_mean"] - found["confidence_var"], abs=5e-14)
        assert row["high"] == pytest.approx(found["confidence_mean"] + found["confidence_var"], abs=5e-14)


@pytest.mark.parametrize(("significance", "option"), [("bootstrap", "--paired-bs"), ("randomisation", "--paired-ar")])
def test_paired_tests_equal_sacrebleu(tmp_path: Path, significance: str, option: str) -> None:
    printed = sacrebleu(
        tmp_path, "-m", "chrf", "bleu", "ter", option, "-f", "text", "--no-color", references=GERMAN, one=ONE, two=TWO, three=LIFTED
    )
    p_values = iter(re.findall(r"\(p = ([\d.]+)\)", printed))
    signatures = dict(re.findall(r"^ - (\S+) +(nrefs\S+)$", printed, re.MULTILINE))
    boards = {
        name: board(name, "deu_Latn", GERMAN, SETTINGS | {"significance": significance}, one=ONE, two=TWO, three=LIFTED)
        for name in NAMES.values()
    }
    for other in ("two", "three"):
        for name in NAMES.values():
            found = boards[name].compare("one", other)
            assert f"{found['p_value']:.4f}" == next(p_values)
            assert found["delta"] == boards[name].estimate("one")["value"] - boards[name].estimate(other)["value"]
            if other == "two":
                assert 0.01 < found["p_value"] < 0.99, "the example should not be trivial"
    for theirs, ours in NAMES.items():
        signature = boards[ours].compare("one", "two")["signature"]
        assert (
            signature.removesuffix(f"|form:{FORM}").replace("bs:1000|ar:", "ar:") == signatures[theirs]
        )  # our row holds an interval too, and names its resamples
    assert next(p_values, None) is None


def test_equal_scores_are_no_difference() -> None:
    for significance in translation.SIGNIFICANCE:
        same = board("BLEU", "deu_Latn", GERMAN, SETTINGS | {"significance": significance}, one=ONE, two=ONE)
        assert (same.compare("one", "two")["delta"], same.compare("one", "two")["p_value"]) == (0, 1)


def odd_texts(draw: random.Random, count: int) -> list[str]:
    """Texts of everything that tokenizers treat in a way of its own, some of them empty."""
    parts = [
        "a",
        "ab",
        "Ab",
        "1",
        "2.5",
        "-",
        ".",
        ",",
        " ",
        " ",
        "  ",
        "\t",
        "\u00a0",
        "\u3000",
        "\u2028",
        "é",
        "e\u0301",
        "中",
        "文",
        "。",
        "ไทย",
    ]
    parts += [
        "<skipped>",
        "&quot;",
        "&amp;lt;",
        "'s",
        "(",
        ")",
        '"',
        "/",
        "\U0001f600",
        "a.b",
        ".5",
        "5-",
        "-\t",
        "ー",
        "ﾊ",
        "!",
        "\\1",
        "\ud800",
    ]
    return ["".join(draw.choices(parts, k=draw.choice([0, 1, 3, 10, 40]))) for _ in range(count)]


@pytest.mark.parametrize(
    "metric",
    [
        metrics.ChrfPlusPlus(), *(metrics.Bleu(name) for name in ("13a", "zh", "char", "intl", "none")),
        metrics.Ter(), metrics.Ter(normalized=True, asian_support=True),
    ],
    ids=["chrF++", "13a", "zh", "char", "intl", "none", "TER", "TER asian"],
)  # fmt: skip
def test_counts_equal_sacrebleu_for_any_text(metric: metrics.StringMetric) -> None:
    draw = random.Random(7)
    references, *systems = (odd_texts(draw, 400) for _ in range(3))
    systems.append([text[: len(text) // 2] + other for text, other in zip(references, systems[0], strict=True)])
    theirs = type(metric.metric)._extract_corpus_statistics
    for counts, system in zip(metric.statistics(references, systems), systems, strict=True):
        assert counts.tolist() == theirs(metric.metric, system, [references])


def test_scores_of_resamples_equal_sacrebleu_for_any_text() -> None:
    """Where whole resamples score zero, too: sacrebleu's numbers are of two types there."""
    draw = random.Random(8)
    references, system = odd_texts(draw, 12), [text if number < 2 else "x" for number, text in enumerate(odd_texts(draw, 12))]
    for metric in (metrics.ChrfPlusPlus(), metrics.Bleu("13a"), metrics.Ter()):
        (counts,) = metric.statistics(references, [system])
        found = metric.scores(resampling.bootstrap(counts, 300))
        theirs = np.array([score.score for score in _bootstrap_resample(counts.tolist(), metric.metric, 300)[1]])
        assert (found.dtype, found.tolist()) == (theirs.dtype, theirs.tolist())


def test_sums_too_large_for_32_bits_are_rounded_as_sacrebleu_rounds_them() -> None:
    counts = np.random.default_rng(1).integers(1, 3_000_000, size=(50, 2))
    found = metrics.Ter().scores(resampling.bootstrap(counts, 200))
    assert found.tolist() == [score.score for score in _bootstrap_resample(counts.tolist(), TER(), 200)[1]]
    exact = resampling._weights(50, 200) @ counts
    assert (100 * exact[:, 0] / exact[:, 1]).astype(np.float32).tolist() != found.tolist(), "the example should round"


def test_edits_equal_sacrebleu_also_outside_its_beam(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(3)
    asked = 0

    class Counting(lib_ter.BeamEditDistance):
        def __call__(self, words: list[str]) -> tuple[int, str]:
            nonlocal asked
            asked += 1
            return super().__call__(words)

    pairs = [([], []), ([], ["a"]), (["a"], []), (["b"], ["a"] * 120), (["a"] * 120, ["b"])]
    turned = [f"r{number}" for number in range(60)]
    pairs.append((turned[26:] + turned[:26], turned))
    for longest, vocabulary in [(8, 3), (25, 12)] * 30:
        words = [f"w{number}" for number in range(vocabulary)]
        reference = draw.choices(words, k=draw.randrange(1, longest))
        cut = draw.randrange(len(reference))
        pairs.append((draw.choices(words, k=draw.randrange(longest)), reference))
        pairs.append((reference[cut:] + draw.choices(words, k=2) + reference[:cut], reference))
    expected = [lib_ter.translation_edit_rate(*pair)[0] for pair in pairs]
    monkeypatch.setattr(lib_ter, "BeamEditDistance", Counting)
    assert [edits.edits(*pair) for pair in pairs] == expected
    assert asked > 5, "the examples should leave the beam"


def test_numbers_of_keys_too_large_to_sort_with_their_places() -> None:
    small = np.random.default_rng(2).integers(0, 50, size=1000)
    for keys in (small, small << 56, small[:0], small[:1]):
        numbers, kinds = ngrams.numbered(keys)
        assert kinds == len(set(keys.tolist()))
        assert len(set(zip(keys.tolist(), numbers.tolist(), strict=True))) == kinds
        assert set(numbers.tolist()) == set(range(kinds))


@pytest.fixture(scope="module")
def sentence_piece(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real SentencePiece model, of our own sentences."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    written = io.BytesIO()
    trainer.train(
        sentence_iterator=iter(GERMAN + ENGLISH + CHINESE), model_writer=written, vocab_size=150, hard_vocab_limit=False, minloglevel=2
    )
    path = tmp_path_factory.mktemp("spm") / "pieces.model"
    path.write_bytes(written.getvalue())
    return path


@pytest.mark.parametrize(("name", "model", "place"), [
    ("spBLEU", "flores200", "flores200sacrebleuspm"), ("spBLEU-101", "flores101", "sacrebleu_tokenizer_spm.model"),
])  # fmt: skip
def test_sp_bleu_equals_sacrebleu(tmp_path: Path, sentence_piece: Path, name: str, model: str, place: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / place).write_bytes(sentence_piece.read_bytes())
    options = ["-m", "bleu", "--tokenize", model]
    printed = json.loads(sacrebleu(tmp_path, *options, "--confidence", references=GERMAN, one=ONE))
    settings = SETTINGS | {"spm": {model: {"path": str(sentence_piece), "sha256": files.sha256_file(sentence_piece)}}}
    found = board(name, "deu_Latn", GERMAN, settings, one=ONE, two=TWO)
    assert f"{found.estimate('one')['value']:.14f}" == f"{printed['score']:.14f}"
    assert found.estimate("one")["signature"] == f"{printed['signature']}|form:{FORM}"
    assert f"tok:{model}" in printed["signature"]
    assert found.estimate("one")["value"] != board("BLEU", "deu_Latn", GERMAN, one=ONE).estimate("one")["value"]
    paired = sacrebleu(tmp_path, *options, "--paired-bs", "-f", "text", "--no-color", references=GERMAN, one=ONE, two=TWO)
    assert f"(p = {found.compare('one', 'two')['p_value']:.4f})" in paired


def test_without_its_model_sp_bleu_has_a_reason(tmp_path: Path) -> None:
    reason = "n/a: no SentencePiece model at hand (evaluate.spm.flores200)"
    assert translation.build("spBLEU", "deu_Latn", SETTINGS) == reason
    absent = SETTINGS | {"spm": {"flores200": {"path": str(tmp_path / "absent"), "sha256": "0" * 64}}}
    assert translation.build("spBLEU", "deu_Latn", absent) == reason


def test_another_sentence_piece_model_is_refused(sentence_piece: Path) -> None:
    other = SETTINGS | {"spm": {"flores200": {"path": str(sentence_piece), "sha256": "0" * 64}}}
    with pytest.raises(UserError, match=r"has the SHA-256 [0-9a-f]{64}, but evaluate.spm.flores200 pins 0000"):
        translation.build("spBLEU", "deu_Latn", other)


def test_ter_has_a_reason_where_there_are_no_words() -> None:
    assert (
        translation.build("TER", "tha_Thai", SETTINGS) == "n/a: TER counts words, and this language is written without spaces between them"
    )
    chinese = translation.build("TER", "zho_Hans", SETTINGS)
    assert isinstance(chinese, metrics.Ter) and "norm:yes|punct:yes|asian:yes" in chinese.signature(1000)


def test_every_tokenizer_of_the_registry_loads_offline() -> None:
    for language in {row.bleu_tokenizer: code for code, row in languages.registry().items()}.values():
        translation.bleu(language)


def test_a_tokenizer_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = dataclasses.replace(languages.get("jpn_Jpan"), bleu_tokenizer="mecap")
    monkeypatch.setitem(languages.registry(), "jpn_Jpan", odd)
    with pytest.raises(UserError, match=r"tokenizer 'mecap' of jpn_Jpan cannot be loaded \('mecap'\)"):
        translation.build("BLEU", "jpn_Jpan", SETTINGS)


@pytest.mark.skipif(not ARCHIVE.exists(), reason="the shared test data is not here")
def test_flores_equals_sacrebleu_in_several_scripts() -> None:
    """The benchmark's own comparison, on the first lines of a few languages; all of them and all lines: see benchmarks/scoring.py."""
    command = [sys.executable, str(tables.ROOT / "benchmarks/scoring.py"), "--flores", str(ARCHIVE), "--lines", "120", "--languages"]
    done = subprocess.run([*command, "arb_Arab", "hin_Deva", "zho_Hans", "tha_Thai", "amh_Ethi"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(
        r"^differences: 0\nscore: 14\nsignature: 14\ninterval: 28\nbaseline's score: 28\np value: 28$", done.stdout, re.MULTILINE
    )
