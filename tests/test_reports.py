"""Reports: complete tables, honest statistics, and pages that are small, safe, readable offline, and show losses."""

import csv
import itertools
import json
import random
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workflow_scripts.common import files, languages, ledger
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.ledger import Fact
from workflow_scripts.reports import charts, collect, health, run, significance, site, table, totals, verdicts
from workflow_scripts.scores import choice, inputs, score

FEW = ["eng_Latn", "zho_Hans", "deu_Latn", "arb_Arab", "tha_Thai", "zul_Latn"]
KEPT_OUT = "zul_Latn"
BASE, LIFTED = "tiny-270m", "tiny-270m-lifted"
HOSTILE = "<script>alert('x')</script> & \"quotes\""
WORDS = {
    "arb_Arab": ["البحر", "والسماء", "والأرض", "كلها", "للناس", "جميعا"],
    "zho_Hans": ["海", "天", "地", "人", "书", "水"],
    "tha_Thai": ["ทะเล", "ฟ้า", "ดิน", "คน"],
}
STAGES = list(collect.STAGES)


def sentence(language: str, item: int) -> str:
    words = WORDS.get(language, ["sea", "sky", "earth", "people", "book", "water", language[:3], HOSTILE])
    return " ".join(words[(item * 7 + place * (3 + item % 5)) % len(words)] + str(item) for place in range(8))


def answer(model: str, language: str, text: str, seed: str) -> str:
    """What a model of the given worth would say: some of the words. One language gets worse by training."""
    dice = random.Random(f"{model} {seed}")
    worth = 0.35 if model == BASE else 0.2 if language == "tha_Thai" else 0.7
    return " ".join(word if dice.random() < worth else "hm" for word in text.split())


def directions(language: str) -> list[str]:
    if language == "eng_Latn":
        return []
    pivots = ["eng_Latn"] if language == "zho_Hans" else ["eng_Latn", "zho_Hans"]
    return [way for pivot in pivots for way in (f"{language}-{pivot}", f"{pivot}-{language}")]


def write_flores(results: Path, name: str, codes: list[str], items: int) -> None:
    about = {"benchmark": name, "version": "6", "domain": f"domain of {name}", "shape": "flores", "licence": "free"}
    for code in codes:
        texts = [{"split": "devtest", "item": item, "text": sentence(code, item)} for item in range(items)]
        files.write_json(results / f"benchmarks/{name}/{code}.json", about | {"language": code, "reason": "", "items": texts})
        for model in (BASE, LIFTED):
            rows: list[dict[str, Any]] = [
                {"item": item, "direction": way, "protocol": shots, "key": "k", "finish": "stop", "tokens": 9,
                 "answer": answer(model, code, sentence(way.split("-")[1], item), f"{way} {shots} {item}")}
                for way in directions(code) for shots in ("0-shot", "3-shot") for item in range(items)
            ]  # fmt: skip
            rows = rows or [{"direction": code, "protocol": "0-shot", "reason": "n/a: a pivot is not translated into itself"}]
            files.write_jsonl(results / f"predictions/{model}/{name}/{code}.jsonl", rows)


def write_reading(results: Path, name: str, codes: list[str], items: int) -> None:
    about = {"benchmark": name, "version": "6", "domain": "reading", "shape": "belebele", "licence": "free"}
    for code in codes:
        texts = [{"item": f"a{item // 2}#{item % 2}", "link": f"a{item // 2}", "correct_answer_num": "1"} for item in range(items)]
        files.write_json(results / f"benchmarks/{name}/{code}.json", about | {"language": code, "reason": "", "items": texts})
        for model in (BASE, LIFTED):
            dice = random.Random(model + code)
            rows = [
                {"item": text["item"], "direction": code, "protocol": protocol, "answer": "1" if dice.random() < 0.4 else "3"}
                for protocol in ("letters", "harness", "chat")
                for text in texts
            ]
            files.write_jsonl(results / f"predictions/{model}/{name}/{code}.jsonl", rows)


def write_ledgers(results: Path, codes: list[str]) -> list[Path]:
    paths = []
    for number, code in enumerate(codes):
        counts: dict[tuple[str, str], dict[str, float]] = {
            ("corpora", "scratch-l10n"): {"rows_read": 1000 + number, "rows_kept": 800, "dropped:length": 150 + number},
            ("instructions", "translation"): {"rows": 800},
            ("predictions", f"{LIFTED}/udhr"): {"items": 40},
        }
        facts = []
        if code == KEPT_OUT:
            for stage in ("mixtures", "models"):
                facts.append(Fact(stage, code, "laptop", "rows_drawn", reason="n/a: kept out of training"))
        else:
            shares = {"share_planned": 1 / len(codes), "share_realised": 0.9 / len(codes)}
            counts["mixtures", "laptop"] = {"rows_drawn": 80 - number % 40} | shares
            counts["models", LIFTED] = {"rows": 80, "rows_truncated": 3, "tokens_per_row": 40 + number + 0.5, "tokens_per_row_p95": 90,
                                        "share_rows_cut": 0.0375, "share_completion_kept": 0.97, "rows_without_target": 1}  # fmt: skip
            counts["models", LIFTED]["tokens_per_character" if code == "zho_Hans" else "tokens_per_word"] = 1.25
        for (stage, subject), measures in counts.items():
            facts += [Fact(stage, code, subject, measure, value) for measure, value in measures.items()]
        paths.append(results / f"ledgers/{code}.csv")
        ledger.write(paths[-1], facts)
    return paths


def write_models(results: Path) -> list[str]:
    """Manifests, a training log, provenance and the config; the arguments of site.py that name them."""
    common = {"fingerprint": "ab" * 32, "licence": "Gemma", "licence_note": "terms apply", "parameters": 268_000_000}
    common |= {"settings": {}, "files": {}, "versions": {"torch": "2"}}
    files.write_json(results / f"models/{BASE}/manifest.json", common | {"model": BASE, "kind": "given", "base": ""})
    files.write_json(results / f"models/{LIFTED}/manifest.json", common | {"model": LIFTED, "kind": "trained", "base": BASE})
    steps = [{"step": step, "loss": 5 / (1 + step / 50), "learning_rate": 1e-4, "tokens": step} for step in range(1, 1001)]
    files.write_jsonl(results / f"models/{LIFTED}/model/training.jsonl", steps)
    files.write_json(results / "downloads/scratch-l10n.json", {
        "package": "scratch-l10n", "registry": "npm", "name": "scratch-l10n", "version": "6.1.116", "sha256": "cd" * 32,
        "licence": "AGPL-3.0", "licence_note": HOSTILE})  # fmt: skip
    return [
        "--manifests", *(str(results / f"models/{model}/manifest.json") for model in (BASE, LIFTED)),
        "--provenance", str(results / "downloads/scratch-l10n.json"),
        "--training", str(results / f"models/{LIFTED}/model/training.jsonl"),
    ]  # fmt: skip


def write_config(results: Path, codes: list[str], benchmarks: list[str]) -> list[str]:
    models = {BASE: {"path": "base"}, LIFTED: {"base": BASE, "mixture": "laptop"}}
    evaluate = {"models": [BASE, LIFTED], "benchmarks": {name: {} for name in benchmarks}}
    files.write_json(results / "config.json", {"recipe": "laptop", "languages": codes, "models": models, "evaluate": evaluate})
    return ["--config", str(results / "config.json")]


def run_collect(results: Path, score_files: list[Path], ledgers: list[Path], codes: list[str], benchmarks: list[str]) -> None:
    evaluate = {"models": [BASE, LIFTED] if benchmarks else [], "benchmarks": benchmarks}
    models = {BASE: {"path": "base"}, LIFTED: {"base": BASE, "mixture": "laptop"}}
    run = {"languages": codes, "models": models, "mixtures": {"laptop": {}}, "evaluate": evaluate}
    settings = {"languages": codes, "stages": STAGES, "evaluate": evaluate, "run": run}
    output = results / "reports"
    tables = (output / name for name in ("scores.csv", "scores.parquet", "ledger.csv"))
    collect.collect(score_files, ledgers, settings, *tables)


def run_site(results: Path, arguments: list[str]) -> Path:
    output = results / "reports"
    site.main([
        "--scores", str(output / "scores.parquet"), "--ledger", str(output / "ledger.csv"), "--output-folder", str(output),
        "--predictions-folder", str(results / "predictions"), "--benchmarks-folder", str(results / "benchmarks"), *arguments,
    ])  # fmt: skip
    return output


def small_run(results: Path, codes: list[str] = FEW, items: int = 12) -> tuple[list[Path], list[Path]]:
    """A run with real scores; returns score files and ledgers."""
    write_flores(results, "udhr", codes, items)
    write_reading(results, "reading", codes, items)
    score_files = []
    for name, code, model in itertools.product(("udhr", "reading"), codes, (BASE, LIFTED)):
        found = inputs.read(
            model, results / f"benchmarks/{name}", code, results / f"predictions/{model}/{name}/{code}.jsonl",
            {BASE: results / f"predictions/{BASE}/{name}/{code}.jsonl"} if model == LIFTED else {},
        )  # fmt: skip
        score_files.append(results / f"scores/{model}/{name}/{code}.json")
        files.write_json(score_files[-1], score.content(found, score.checked({"metrics": ["chrF++"], "resamples": 200})))
    return score_files, write_ledgers(results, codes)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of a small run with real scores."""
    results = tmp_path_factory.mktemp("results")
    score_files, ledgers = small_run(results)
    run_collect(results, score_files, ledgers, FEW, ["udhr", "reading"])
    return run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])


def pages(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.html"))


# collect


def test_collected_tables(report: Path) -> None:
    with (report / "scores.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert " ".join(rows[0]) == (
        "model benchmark version language direction protocol metric value low high n signature baseline delta p_value reason"
    )
    keys = [tuple(row[name] for name in collect.IDENTITY) for row in rows]
    assert keys == sorted(keys)
    assert all(bool(row["value"]) != bool(row["reason"]) for row in rows)
    assert all(row["n"].isdigit() for row in rows if row["value"])
    assert len(pd.read_parquet(report / "scores.parquet")) == len(rows)
    facts = ledger.read(report / "ledger.csv")
    assert [fact.stage for fact in facts] == sorted((fact.stage for fact in facts), key=STAGES.index)


def test_a_gap_names_language_and_stage(tmp_path: Path) -> None:
    ledgers = write_ledgers(tmp_path, FEW)
    with pytest.raises(UserError, match="ukr_Cyrl: nothing in the ledger of stage corpora"):
        run_collect(tmp_path, [], ledgers, [*FEW, "ukr_Cyrl"], [])
    score_files, _ = small_run(tmp_path, FEW[:3], 4)
    with pytest.raises(UserError, match=f"deu_Latn: neither a score nor a reason in stage scores for model {LIFTED} on udhr"):
        run_collect(tmp_path, [path for path in score_files if path.parts[-3:] != (LIFTED, "udhr", "deu_Latn.json")], ledgers,
                    FEW[:3], ["udhr"])  # fmt: skip
    with pytest.raises(UserError, match="is there twice"):
        run_collect(tmp_path, [*score_files, score_files[0]], ledgers, FEW[:3], ["udhr"])
    assert not (tmp_path / "reports").exists()


def test_a_broken_row_names_its_file(tmp_path: Path) -> None:
    score_files, ledgers = small_run(tmp_path, FEW[:3], 4)
    rows = files.read_json(score_files[-1])["scores"]
    files.write_json(score_files[-1], {"scores": [rows[0] | {"reason": "because"}]})
    with pytest.raises(UserError, match=r"zho_Hans.json row 1|deu_Latn.json row 1"):
        run_collect(tmp_path, score_files, ledgers, FEW[:3], ["udhr"])


# statistics


# Benjamini and Hochberg 1995, section 4.1: fifteen p values of one trial.
PUBLISHED = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0]


def test_corrections_against_worked_examples() -> None:
    assert significance.corrected([0.01, 0.04, 0.03, 0.005], "holm") == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert significance.corrected([0.9, 0.8], "holm") == [1.0, 1.0]
    assert significance.corrected([0.01, 0.04, 0.03, 0.005], "benjamini-hochberg") == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert significance.corrected([0.9, 0.04], "none") == [0.9, 0.04]
    found = {name: sum(p <= 0.05 for p in significance.corrected(PUBLISHED[::-1], name)) for name in significance.CORRECTIONS}
    assert found == {"holm": 3, "benjamini-hochberg": 4, "none": 9}  # the paper has 3 (Bonferroni) and 4
    with pytest.raises(ValueError, match="no correction is called"):
        significance.corrected([0.5], "hochberg")


def test_the_test_over_languages_is_that_of_flipping_signs() -> None:
    dice = random.Random(3)
    for count in (6, 7, 9):
        for shift in (-1.0, 0.0, 0.4, 2.0):
            differences = [round(dice.gauss(shift, 1), 1) for _ in range(count)]
            sums = [sum(sign * one for sign, one in zip(signs, differences, strict=True))
                    for signs in itertools.product((1, -1), repeat=count)]  # fmt: skip
            expected = sum(abs(one) >= abs(sum(differences)) - 1e-9 for one in sums) / 2**count
            found = significance.over_languages(differences)
            assert found.p_value == pytest.approx(expected)
            assert found.low is not None and found.high is not None
            assert (found.low <= 0 <= found.high) == (expected >= 0.05)
            moved = significance.over_languages([one - found.low + 1e-6 for one in differences])
            assert moved.low is not None and 0 < moved.low < 1e-5


def test_the_interval_over_languages_holds_the_mean_as_often_as_it_says() -> None:
    dice = np.random.default_rng(0)
    for count in (6, 8, 20):
        found = [significance.over_languages(list(dice.standard_t(3, count) * 5 + 2)) for _ in range(1000)]
        held = sum(one.low <= 2 <= one.high for one in found if one.low is not None and one.high is not None)
        level = 1 - 2 / 64 if count == 6 else 0.95  # the finest there is with six languages
        assert held == pytest.approx(1000 * level, abs=28)  # four standard errors


def test_means_over_languages_at_the_edges() -> None:
    assert significance.over_languages([0.0] * 8).p_value == 1
    assert significance.over_languages([1.0, -1.0] * 20).p_value == 1
    assert significance.over_languages([1.0] * 12).p_value == 2 / 4096
    assert significance.over_languages([1.0] * 40).p_value == 2 / 10_000
    many = [0.3, -0.2] * 10 + [0.1]
    assert significance.over_languages(many) == significance.over_languages(many)
    few = significance.over_languages([5.0, 6.0, 7.0, 8.0, 9.0])
    assert (few.value, few.low, few.high, few.p_value) == (7, None, None, None)
    assert few.reason == "n/a: 5 languages; fewer than 6 can never reach p < 0.05"


def test_only_the_bootstrap_of_sacrebleu_is_doubled() -> None:
    ours, theirs = "pivotlift|accuracy|bs:1000|seed:12345|v1", "nrefs:1|bs:1000|seed:12345|case:mixed|version:2.6.0"
    randomised = "nrefs:1|bs:1000|ar:10000|seed:12345|case:mixed|version:2.6.0"
    assert significance.two_sided(0.02, theirs, 20) == 0.04
    assert significance.two_sided(0.8, theirs, 20) == 1
    assert significance.two_sided(0.02, ours, 20) == 0.02
    assert significance.two_sided(0.02, randomised, 20) == 0.02
    assert significance.two_sided(0.0001, randomised, 8) == significance.two_sided(0.001, theirs, 8) == 2 / 2**8
    assert significance.two_sided(0.0001, randomised, 1) == 1
    assert significance.smallest(theirs) == 2 / 1001
    assert significance.smallest(randomised) == 1 / 10_001
    assert significance.smallest(choice.signature("letters", 1000)) == 1 / 1001
    assert significance.smallest(choice.signature("letters", 1000, "randomisation")) == 1 / 10_001
    assert significance.smallest("pivotlift|copies|v1") == 0


# pages


class Page(HTMLParser):
    """The tags, links and text of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_language_has_its_page_and_every_link_leads_somewhere(report: Path) -> None:
    names = {path.relative_to(report).as_posix() for path in pages(report)}
    assert names == {"index.html", f"models/{LIFTED}-vs-{BASE}.html", *(f"languages/{code}.html" for code in FEW)}
    for path in pages(report):
        for _, attributes in Page(path).tags:
            link = attributes.get("href") or attributes.get("src")
            if link and link != "data:,":
                assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_a_page_says_where_dropped_pairs_can_be_read(report: Path) -> None:
    assert Page(report / "languages/deu_Latn.html").text.count("results/corpora/deu_Latn.dropped.csv") == 1


def test_pages_need_no_network(report: Path) -> None:
    for path in pages(report):
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
        assert not re.search(r"https?:|//\w+\.\w+/|@import|url\(", text), path


def test_foreign_text_is_escaped(report: Path) -> None:
    page = (report / "languages/deu_Latn.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(" in page
    for path in pages(report):
        page = Page(path)
        assert sum(tag == "script" for tag, _ in page.tags) == (1 if path.name == "index.html" else 0)


def test_pages_can_be_read_by_everyone(report: Path) -> None:
    for path in pages(report):
        tags = Page(path).tags
        assert [tag for tag, _ in tags].count("table") == [tag for tag, _ in tags].count("caption")
        assert all(attributes.get("aria-label") for tag, attributes in tags if tag == "svg")
        assert all(attributes.get("scope") for tag, attributes in tags if tag == "th"), path
        assert any(attributes.get("name") == "viewport" for tag, attributes in tags if tag == "meta")
        assert "prefers-color-scheme: dark" in path.read_text(encoding="utf-8")
    arabic = Page(report / "languages/arb_Arab.html").tags
    assert any(attributes.get("lang") == "arb-Arab" and attributes.get("dir") == "auto" for tag, attributes in arabic if tag == "dd")


def test_the_index_tells_what_got_worse(report: Path) -> None:
    text = " ".join(Page(report / "index.html").text.split())
    assert re.search(r"Significantly worse than the base: (Thai → [^,]+|[^,]+ → Thai), chrF\+\+ on udhr, \d-shot against [^:]+: −", text)
    assert f"{LIFTED} is {BASE} trained on 5 of the 6 languages" in text
    assert "On udhr, languages kept out of training (1)" in text
    view = pd.read_csv(report / f"data/{LIFTED}-vs-{BASE}-udhr.csv")
    worse = view[view["verdict"] == "worse"]
    assert set(worse["language"]) == {"tha_Thai"}
    inside = view[view["trained"]]
    told = re.search(r"(\d+) of (\d+) languages × directions are significantly better, (\d+) significantly worse", text)
    assert told is not None
    assert [int(number) for number in told.groups()] == [int((inside["verdict"] == "better").sum()), len(inside), len(worse)]
    scores = pd.read_parquet(report / "scores.parquet")
    here = scores[(scores["model"] == BASE) & (scores["benchmark"] == "udhr") & (scores["metric"] == "chrF++")]
    means = here[here["language"].isin(inside["language"])].groupby(["protocol", "language"])["value"].mean().groupby("protocol").mean()
    for shots in ("0-shot", "3-shot"):
        told = re.search(rf"([\d.]+) \(0-shot\) against the base’s ([\d.]+) \({shots}\), ([+−][\d.]+)", text)
        assert told is not None and told[2] == f"{means[shots]:.1f}"
        after, before, change = (float(number.replace("−", "-")) for number in told.groups())
        assert after - before == pytest.approx(change, abs=0.11), "three numbers of one sentence fit"


def test_every_claim_of_the_index_stands_in_a_table(report: Path) -> None:
    tests, over = (pd.read_csv(report / name, keep_default_na=False) for name in ("significance.csv", "over_languages.csv"))
    scores = pd.read_csv(report / "scores.csv", keep_default_na=False)
    assert len(tests) == (scores["baseline"] != "").sum()
    assert set(tests["correction"]) == {"holm"}
    assert set(tests.loc[tests["languages"] == "kept out", "language"]) == {KEPT_OUT}
    family = tests[
        (tests["direction"].str.endswith("-eng_Latn")) & (tests["baseline"] == f"{BASE}/3-shot") & (tests["protocol"] == "0-shot")
    ]
    assert set(family["tests"]) == {len(family)} == {5}
    assert list(family["p_corrected"]) == pytest.approx(significance.corrected(list(family["p_two_sided"]), "holm"), rel=1e-4)
    assert list(family["p_two_sided"]) == pytest.approx([min(1, 2 * p) for p in family["p_value"].astype(float)], rel=1e-4)
    ways = {"X → English": tests["direction"].str.endswith("-eng_Latn"), "English → X": tests["direction"].str.startswith("eng_Latn-")}
    for row in over[over["direction"].isin(ways)].itertuples():
        alike = np.logical_and.reduce([tests[name] == getattr(row, name) for name in ("baseline", "protocol", "languages")])
        same = tests[ways[row.direction] & alike]
        assert (row.n, row.better, row.worse) == (len(same), (same["verdict"] == "better").sum(), (same["verdict"] == "worse").sum())
        assert row.delta == pytest.approx(same["delta"].mean(), rel=1e-4)
    index = " ".join(Page(report / "index.html").text.split())
    told = re.findall(r"\(3-shot\), ([+−][\d.]+) over (\d) languages?, no test", index)
    rows = over[(over["direction"] == "all directions") & (over["protocol"] == "0-shot") & (over["baseline"] == f"{BASE}/3-shot")]
    assert told == [(f"{row.delta:+.1f}".replace("-", "−"), str(row.n)) for row in rows.itertuples()]
    assert "paired bootstrap, two-sided, Holm's correction over the languages of a direction, 5 %" in index


def test_another_correction_and_test_are_named_wherever_they_count(report: Path, tmp_path: Path) -> None:
    results = shutil.copytree(report.parent, tmp_path / "results")
    scores = pd.read_parquet(results / "reports/scores.parquet")
    scores["signature"] = scores["signature"].str.replace("|bs:200|", "|bs:200|ar:10000|")
    scores.to_parquet(results / "reports/scores.parquet")
    arguments = [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])]
    config = files.read_json(results / "config.json")
    files.write_json(results / "config.json", config | {"reports": {"correction": "benjamini-hochberg"}})
    output = run_site(results, arguments)
    for page in pages(output):
        text = " ".join(Page(page).text.split())
        assert (
            "approximate randomisation, two-sided, Benjamini and Hochberg's correction over the languages" in text
            or "eng_Latn" in page.name
        )
        assert "Holm" not in text and "bootstrap, two-sided" not in text
    tests = pd.read_csv(output / "significance.csv")
    assert set(tests["correction"]) == {"benjamini-hochberg"}
    assert (tests["p_two_sided"] == tests["p_value"].fillna(1)).all(), "randomisation is two-sided already"
    before = pd.read_csv(report / "significance.csv")
    assert (tests["p_corrected"] <= before["p_corrected"]).all() and (tests["p_corrected"] < before["p_corrected"]).any()


def test_a_lower_error_rate_is_better(report: Path) -> None:
    scores = pd.read_parquet(report / "scores.parquet")
    before, after = (
        run.Run(frame, [], {}, [], {}, {}, report, report).compared for frame in (scores, scores.replace({"metric": {"chrF++": "TER"}}))
    )
    swapped = before["verdict"].where(before["metric"] != "chrF++", before["verdict"].replace({"better": "worse", "worse": "better"}))
    assert list(after["verdict"]) == list(swapped) and set(swapped) >= {"better", "worse"}


def test_worst_language_first(report: Path) -> None:
    page = (report / "index.html").read_text(encoding="utf-8")
    table = page[page.index('class="sortable"') :]
    assert table.index("languages/tha_Thai.html") < table.index("languages/deu_Latn.html")


def test_the_baseline_shown_is_the_one_with_worked_examples(report: Path) -> None:
    view = pd.read_csv(report / f"data/{LIFTED}-vs-{BASE}-udhr.csv").set_index("direction")
    scores = pd.read_parquet(report / "scores.parquet")
    rows = scores[(scores["direction"] == "deu_Latn-eng_Latn") & (scores["metric"] == "chrF++")]
    base = rows[(rows["model"] == BASE) & (rows["protocol"] == "3-shot")].iloc[0]
    shown = view.loc["deu_Latn-eng_Latn"]
    assert shown["base_value"] == pytest.approx(base["value"], rel=1e-5)
    assert (shown["base_low"], shown["base_high"]) == pytest.approx((base["low"], base["high"]), rel=1e-5)


def test_a_language_without_few_shot_is_shown_against_the_base_asked_in_the_same_way(report: Path, tmp_path: Path) -> None:
    results = shutil.copytree(report.parent, tmp_path / "results")
    scores = pd.read_parquet(results / "reports/scores.parquet")
    few_shot = (scores["protocol"] == "3-shot") | scores["baseline"].str.endswith("3-shot")
    scores[~(few_shot & (scores["language"] == "deu_Latn"))].to_parquet(results / "reports/scores.parquet")
    output = run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])
    view = pd.read_csv(output / f"data/{LIFTED}-vs-{BASE}-udhr.csv").groupby("language")["base_protocol"].unique()
    assert list(view["deu_Latn"]) == ["0-shot"]
    assert list(view["arb_Arab"]) == ["3-shot"]


def test_examples_run_from_the_worst_to_the_best(report: Path) -> None:
    page = (report / "languages/deu_Latn.html").read_text(encoding="utf-8")
    part = page[page.index("udhr, German → English") :]
    scores = [float(number) for number in re.findall(r"shot · ([\d.]+)</dt>", part)[:10]]
    gains = [after - before for before, after in zip(scores[::2], scores[1::2], strict=True)]
    assert len(gains) == 5
    assert gains == sorted(gains)


def test_same_inputs_same_pages(report: Path) -> None:
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    results = report.parent
    run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])
    assert before == {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}


def test_a_run_without_models(tmp_path: Path) -> None:
    run_collect(tmp_path, [], write_ledgers(tmp_path, FEW), FEW, [])
    output = run_site(tmp_path, write_config(tmp_path, FEW, []))
    text = " ".join(Page(output / "index.html").text.split())
    assert "This run made data only" in text
    assert "kept out of training" in text
    assert '<th scope="row">rows read</th><td>6</td><td>6,015</td>' in (output / "index.html").read_text(encoding="utf-8")
    assert len((output / "scores.csv").read_text().splitlines()) == 1
    assert (output / "data/mixtures.csv").exists()


def test_a_language_that_was_not_drawn_says_so_whatever_was_counted() -> None:
    facts = [
        Fact("mixtures", "acq_Arab", "m", "rows_drawn", reason="n/a: no instruction was drawn in this language"),
        Fact("mixtures", "acq_Arab", "m", "rows_contaminated:udhr", 0),
    ]
    assert site.ledger_cell(facts) == {"reason": "n/a: no instruction was drawn in this language"}


def test_totals_are_the_sums_of_the_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = [
        Fact("corpora", code, corpus, measure, value)
        for code, corpus, read, kept in (("deu_Latn", "a", 10, 7), ("deu_Latn", "b", 5, 5), ("swh_Latn", "a", 1_000, 0))
        for measure, value in {"rows_kept": kept, "dropped:copy": read - kept, "rows_read": read}.items()
    ]
    facts += [
        Fact("mixtures", "deu_Latn", "m", "share_planned", 0.5),
        Fact("mixtures", "zul_Latn", "m", "rows_drawn", reason="n/a: kept out"),
    ]
    ledger.write(tmp_path / "ledger.csv", facts)
    totals.main(["--ledger", str(tmp_path / "ledger.csv")])
    assert capsys.readouterr().out.strip().splitlines() == [
        "corpora, over 2 languages",
        "",
        "| rows | languages | a | b | all |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| rows read | 2 | 1,010 | 5 | 1,015 |",
        "| dropped: copy | 2 | 1,003 |  | 1,003 |",
        "| rows kept | 1 | 7 | 5 | 12 |",
    ]
    with pytest.raises(UserError, match=r"snakemake nowhere\.csv"):
        totals.main(["--ledger", "nowhere.csv"])


def test_pages_and_printed_table_tell_the_losses_of_the_table(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row `worse`, of whatever test, metric, protocol and baseline, wherever it is spoken of; the same words everywhere."""
    tests = pd.read_csv(report / "significance.csv", keep_default_na=False)
    losses = verdicts.losses(tests, LIFTED)
    assert len(losses) == (tests["verdict"] == "worse").sum() > 2
    assert {row["protocol"] for row in losses} > {"0-shot"} and len({row["baseline"] for row in losses}) > 1
    table.main(["--reports", str(report), "--benchmark", "udhr"])
    told = {
        "index": " ".join(Page(report / "index.html").text.split()),
        "model": " ".join(Page(report / f"models/{LIFTED}-vs-{BASE}.html").text.split()),
        "printed": capsys.readouterr().out,
    }
    for where, text in told.items():
        for row in losses[: site.NAMED] if where == "index" else losses:
            assert f"{row['way']}, {verdicts.loss_said(row)}" in text, where
        assert "No test found a significant loss" not in text


def test_no_loss_is_said_only_where_the_table_has_none(report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One loss, out of the main chart's sight: in the few-shot protocol. Then none at all."""
    results = shutil.copytree(report.parent, tmp_path / "results")
    scores = pd.read_parquet(results / "reports/scores.parquet")
    paired = scores["baseline"] != ""
    one = (scores["direction"] == "eng_Latn-deu_Latn") & (scores["protocol"] == "3-shot") & (scores["metric"] == "chrF++")
    for wanted, count in ((one & paired, 1), (one & ~one, 0)):
        changed = scores.assign(p_value=scores["p_value"].where(scores["p_value"].isna(), 0.9))
        changed.loc[wanted, ["p_value", "delta"]] = [0.0001, -5.0]
        changed["signature"] = changed["signature"].str.replace("|bs:200|", "|bs:200|ar:10000|")
        changed.assign(n=changed["n"].where(changed["n"].isna(), 40)).to_parquet(results / "reports/scores.parquet")
        output = run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])
        table.main(["--reports", str(output), "--benchmark", "udhr"])
        pages = [Page(output / name).text for name in ("index.html", f"models/{LIFTED}-vs-{BASE}.html")]
        for text in (*pages, capsys.readouterr().out):
            assert ("English → German, chrF++ on udhr, 3-shot against" in " ".join(text.split())) == (count == 1)
            assert ("No test found a significant loss" in text) == (count == 0)


def over(rows: list[dict[str, Any]]) -> pd.DataFrame:
    plain = {"model": LIFTED, "baseline": f"{BASE}/0-shot", "benchmark": "udhr", "protocol": "0-shot", "languages": "trained",
             "direction": "English → X", "n": 8, "test": "languages", "reason": "", "low": -2.0, "high": -1.0, "p_value": 0.01}  # fmt: skip
    return pd.DataFrame([plain | row for row in rows])


def test_every_mean_that_got_worse_is_said_with_its_test() -> None:
    found = verdicts.lower_means(over([
        {"metric": "chrF++", "delta": 1.0, "verdict": "better"},
        {"metric": "BLEU", "delta": -1.5, "verdict": "worse"},
        {"metric": "TER", "delta": 3.0, "verdict": "worse"},
        {"metric": "TER clean", "delta": -3.0, "verdict": "better"},
        {"metric": "chrF++", "delta": -9.0, "verdict": "no clear difference"},
        {"metric": "chrF++", "delta": -7.0, "verdict": "", "n": 3, "reason": "n/a: 3 languages; fewer than 6"},
    ]), LIFTED)  # fmt: skip
    assert [(row["metric"], row["delta"]) for row in found] == [("TER", 3), ("BLEU", -1.5), ("chrF++", -9), ("chrF++", -7)]
    assert verdicts.mean_said(found[1]) == (
        f"BLEU on udhr, English → X, 0-shot against {BASE}/0-shot, 8 languages trained: −1.5 "
        "(95 % interval −2.0 to −1.0, p = 0.010, over languages)"
    )
    assert verdicts.mean_said(found[3]).endswith("3 languages trained: −7.0 (no test, 3 languages; fewer than 6)")


def test_a_test_that_can_tell_nothing_says_so(tmp_path: Path) -> None:
    """Eight sentences in eleven languages: p is 2 / 2^8 at the least, by Holm 0.086, even where Thai goes from 0 to 17."""
    signature = "nrefs:1|bs:1000|ar:10000|seed:12345|case:mixed|version:2.6.0"
    names = [code for code in languages.registry() if code != "eng_Latn"][:11]
    rows = [score.EMPTY | {"model": LIFTED, "benchmark": "udhr", "version": "6", "language": code, "direction": f"eng_Latn-{code}",
                           "protocol": "0-shot", "metric": "chrF++", "value": 17.0, "low": 9.0, "high": 25.0, "n": 8, "p_value": 0.0001,
                           "signature": signature, "baseline": f"{BASE}/0-shot", "delta": 17.0} for code in names]  # fmt: skip
    files.write_json(tmp_path / "scores.json", {"scores": rows})
    found = run.Run(collect.read_scores([tmp_path / "scores.json"]), [], {}, [], {}, {}, tmp_path, tmp_path)
    assert set(found.tests["smallest"].round(4)) == {round(11 * 2 / 2**8, 4)}
    assert set(found.compared["short_of"]) == {"sentences"} and set(found.tests["verdict"]) == {"no clear difference"}
    assert verdicts.blind_said(found.tests, LIFTED).startswith("11 of 11 tests can tell nothing, whatever the scores (on udhr): so few")
    assert "below 0.0859" in verdicts.blind_said(found.tests, LIFTED)
    assert site.too_few(found)["sentences"]["needed"] == 9
    assert significance.attainable([2 / 2**8] * 11, "benjamini-hochberg") == [2 / 2**8] * 11


def test_the_index_says_cannot_be_told_instead_of_a_count(report: Path) -> None:
    """The reading test has six passages: 2 / 2^6, in six languages, is never significant."""
    text = " ".join(Page(report / "index.html").text.split())
    assert "cannot be told with 12 questions: no p value below" in text
    assert not re.search(r"\d+ of \d+ languages are significantly better", text)


def test_every_language_has_a_number_or_a_reason_at_every_stage(report: Path) -> None:
    facts = ledger.read(report / "ledger.csv")
    assert {(fact.language, fact.stage) for fact in facts} == set(itertools.product(FEW, collect.STAGES))
    assert "nothing recorded" not in (report / "index.html").read_text(encoding="utf-8")
    told = {(fact.language, fact.subject, fact.measure): fact.value for fact in facts if fact.stage == "predictions"}
    assert told["deu_Latn", f"{BASE}/udhr", "items"] == 12 * 4 * 2, "sentences, directions, protocols"
    (pivot,) = {fact.reason for fact in facts if (fact.stage, fact.language, fact.subject) == ("scores", "eng_Latn", f"{BASE}/udhr")}
    assert pivot == "n/a: a pivot is not translated into itself"


def test_stages_that_had_nothing_to_do_say_why() -> None:
    config: dict[str, Any] = {"languages": ["deu_Latn", "zul_Latn"], "mixtures": {"m": {}}, "evaluate": {"models": []}}
    config["models"] = {"one": {"base": "b", "mixture": "m"}, "b": {"path": "b"}}
    known = [
        Fact("mixtures", "deu_Latn", "m", "rows_drawn", 5), Fact("models", "deu_Latn", "one", "rows", 5),
        Fact("mixtures", "zul_Latn", "m", "rows_drawn", reason="n/a: kept out of training"),
    ]  # fmt: skip
    found = {(fact.language, fact.stage): fact.reason for fact in collect.absences(known, config)}
    assert found["zul_Latn", "models"] == "n/a: kept out of training"
    assert found["deu_Latn", "scores"] == "n/a: this run evaluates no model" and ("deu_Latn", "models") not in found
    nothing = collect.absences([], config | {"mixtures": {}, "models": {"b": {"path": "b"}}})
    assert {fact.reason for fact in nothing if fact.stage == "models"} == {"n/a: this run trains no model"}


def test_a_baseline_that_repeats_the_worked_example_is_named_ill() -> None:
    def row(value: float, low: float | None = None, high: float | None = None) -> Any:
        return pd.Series({"value": value, "low": low, "high": high})

    assert health.faults({"copied example rate": row(65, 43, 82), "cut rate": row(5.5, 2, 12)}) == [
        "6 % cut off at their limit", "65 % copies of a worked example",
    ]  # fmt: skip
    assert health.faults({"cut rate": row(5, 2, 12), "copy rate": row(12, 4, 30), "in script": row(93, 80, 98)}) == []
    assert health.faults({"in script": row(40, 30, 50), "never heard of": row(100, 99, 100)}) == ["40 % in the script"]
    assert health.faults({"option C": row(58, 39, 75), "option A": row(50, 30, 70)}) == ["58 % say C"]
    known = {"cut rate", "thinking rate", "copied example rate", "wrapped rate", "preamble rate", "copy rate", "loop rate", "empty rate"}
    assert all(health.faults({metric: row(90, 80, 95)}) for metric in known)


def test_ill_output_is_judged_for_the_base_and_every_protocol(report: Path, tmp_path: Path) -> None:
    results = shutil.copytree(report.parent, tmp_path / "results")
    scores = pd.read_parquet(results / "reports/scores.parquet")
    here = (scores["metric"] == "copy rate") & (scores["model"] == BASE) & (scores["protocol"] == "3-shot")
    ill = scores[here & (scores["direction"] == "eng_Latn-tha_Thai")].assign(metric="copied example rate", value=65.0, low=43.0, high=82.0)
    pd.concat([scores, ill]).to_parquet(results / "reports/scores.parquet")
    output = run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])
    text = " ".join(Page(output / "index.html").text.split())
    said = text[text.index(f"Unhealthy output of {BASE}, 3-shot:") :]
    assert re.search(r"English → Thai on udhr \([^)]*65 % copies of a worked example", said)
    assert f"Unhealthy output of {BASE}, letters:" in text and re.search(r"on reading \(\d+ % say [AC]\)", text)


def test_answers_that_are_missing_stop_the_report(report: Path, tmp_path: Path) -> None:
    results = shutil.copytree(report.parent, tmp_path / "results")
    arguments = [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])]
    path = results / f"predictions/{BASE}/udhr/deu_Latn.jsonl"
    rows = files.read_jsonl(path)
    path.unlink()
    with pytest.raises(UserError, match=r"udhr/deu_Latn\.jsonl is missing, but its scores are there"):
        run_site(results, arguments)
    files.write_jsonl(path, [row for row in rows if row["direction"] != "deu_Latn-eng_Latn"])
    with pytest.raises(UserError, match="hold no answer for deu_Latn-eng_Latn"):
        run_site(results, arguments)


def test_what_cannot_be_seen_is_spelled_out(report: Path, tmp_path: Path) -> None:
    results = shutil.copytree(report.parent, tmp_path / "results")
    path = results / f"predictions/{LIFTED}/udhr/deu_Latn.jsonl"
    rows = [row | {"answer": "\ud83d half, \u202eturned\u200b " + "long " * 200} for row in files.read_jsonl(path)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    output = run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])
    page = (output / "languages/deu_Latn.html").read_text(encoding="utf-8")
    assert "\\ud83d half, \\u202eturned\\u200b long" in page
    assert site.shown("ab" * 10, 5) == "ababa…" and site.shown("नमस्ते \u200c\u200d") == "नमस्ते \u200c\u200d", "joiners are letters' own"


def reading_run(tmp_path: Path, base: list[str], lifted: list[str], count: int = 12) -> run.Run:
    """Twelve languages answered alike, on BELEBELE's key (as far as it is known here: how often each number is right)."""
    key = "2" * 251 + "3" * 246 + "1" * 206 + "4" * 197
    codes = list(languages.registry())[:count]
    paths = []
    for code in codes:
        items = [{"item": f"p{n // 2}#{n % 2}", "link": f"p{n // 2}", "correct_answer_num": one} for n, one in enumerate(key)]
        about = {"benchmark": "belebele", "version": "1", "shape": "belebele", "domain": "d", "licence": "l", "reason": ""}
        files.write_json(tmp_path / f"benchmarks/belebele/{code}.json", about | {"language": code, "items": items})
        for model, said in ((BASE, base), (LIFTED, lifted)):
            rows = [{"item": item["item"], "direction": code, "protocol": "letters", "answer": one}
                    for item, one in zip(items, said, strict=True)]  # fmt: skip
            files.write_jsonl(tmp_path / f"predictions/{model}/{code}.jsonl", rows)
        found = inputs.read(LIFTED, tmp_path / "benchmarks/belebele", code, tmp_path / f"predictions/{LIFTED}/{code}.jsonl",
                            {BASE: tmp_path / f"predictions/{BASE}/{code}.jsonl"})  # fmt: skip
        paths.append(tmp_path / f"scores/{code}.json")
        files.write_json(paths[-1], score.content(found, score.checked({"resamples": 200})))
    manifests = {BASE: {"kind": "given", "base": ""}, LIFTED: {"kind": "trained", "base": BASE}}
    scores = collect.read_scores(paths)
    extra = scores.iloc[:1].assign(model=BASE, baseline="", delta=float("nan"), p_value=float("nan"))
    return run.Run(pd.concat([scores, extra]), [], manifests, [], {"languages": codes}, {}, tmp_path, tmp_path / "benchmarks",
                   gains=collect.read_gains(paths))  # fmt: skip


def test_twelve_languages_that_say_another_letter_are_no_gain(tmp_path: Path) -> None:
    """Base always 4, lifted always 2: +6.0 in each language, and p = 0.0005 over languages before, from one draw of a key."""
    found = reading_run(tmp_path, ["4"] * 900, ["2"] * 900)
    (row,) = found.over_languages
    assert (row["delta"], row["n"], row["test"]) == (pytest.approx(6.0), 12, "passages")
    assert row["p_value"] > 0.99 and row["verdict"] == "no clear difference"
    assert set(found.tests["verdict"]) == {"no clear difference"}
    assert len(found.unhealthy(found.pairs[0])) == 12 and "100 % say B" in found.ill[0]["wrong"]


def test_a_gain_in_one_draw_of_passages_is_tested_over_passages(tmp_path: Path) -> None:
    """The same gain in all languages is no surer than in one: as many passages speak for it. A wide one is found all the same."""
    key = "2" * 251 + "3" * 246 + "1" * 206 + "4" * 197
    dice = random.Random(4)
    base = [one if dice.random() < 0.4 else "1234"[dice.randrange(4)] for one in key]
    few = [one if n % 60 == 0 else said for n, (one, said) in enumerate(zip(key, base, strict=True))]
    many = [one if n % 5 == 0 else said for n, (one, said) in enumerate(zip(key, base, strict=True))]
    p_values = [reading_run(tmp_path / str(n), base, said, n).over_languages[0]["p_value"] for n, said in ((12, few), (1, few), (12, many))]
    assert p_values[0] == pytest.approx(p_values[1], abs=1e-6) and p_values[2] < 0.001
    assert significance.over_languages([1.0] * 12).p_value == 2 / 4096 < p_values[0]


def test_scores_without_gains_by_passage_have_no_test_over_languages(tmp_path: Path) -> None:
    found = reading_run(tmp_path, ["4"] * 900, ["2"] * 900)
    found.gains = found.gains.iloc[:0]
    assert found.over_languages[0]["reason"] == "n/a: scores without gains by passage; score again"


def test_too_few_resamples_are_said(report: Path, tmp_path: Path) -> None:
    """With 10 resamples no p value of a family of five can reach 0.05, and the page says so instead of "no difference"."""
    results = shutil.copytree(report.parent, tmp_path / "results")
    scores = pd.read_parquet(results / "reports/scores.parquet")
    scores["signature"] = scores["signature"].str.replace("bs:200", "bs:10")
    scores["p_value"] = scores["p_value"].clip(lower=1 / 11)
    scores.to_parquet(results / "reports/scores.parquet")
    output = run_site(results, [*write_models(results), *write_config(results, FEW, ["udhr", "reading"])])
    text = " ".join(Page(output / "index.html").text.split())
    assert "Too few resamples to tell." in text and "evaluate.resamples to 240 or more" in text
    assert "can tell nothing, whatever the scores" in text


def test_too_few_sentences_are_told_from_too_few_resamples(report: Path) -> None:
    scores = pd.read_parquet(report / "scores.parquet")
    scores["p_value"] = scores["p_value"].where(scores["p_value"] > 0.1, 0.0001)
    scores["signature"] = scores["signature"].str.replace("|bs:200|", "|bs:200|ar:10000|")
    for items, needed in ((8, 8), (4, 8)):
        found = site.too_few(run.Run(scores.assign(n=items), [], {}, [], {}, {}, report, report))
        assert ("sentences" in found) == (items < needed)
        assert "resamples" not in found
        if found:
            assert (found["sentences"]["needed"], found["sentences"]["benchmarks"]) == (needed, ["reading", "udhr"])


def big_scores(results: Path, codes: list[str], name: str) -> list[Path]:
    """Score files as score.py writes them, made up: scoring 204 languages is not what is tested here."""
    paths = []
    signature = "nrefs:1|bs:10000|seed:12345|case:mixed|eff:yes|nc:6|nw:2|space:no|version:2.6.0"
    for model, code in itertools.product((BASE, LIFTED), codes):
        rows: list[dict[str, Any]] = []
        names = {"model": model, "benchmark": name, "version": "6", "language": code}
        for way, shots in itertools.product(directions(code) or [code], ("0-shot", "3-shot")):
            here = names | score.EMPTY | {"direction": way, "protocol": shots, "metric": "chrF++"}
            if way == code:
                rows.append(here | {"reason": "n/a: a pivot"})
                continue
            base, dice = random.Random(way + shots).uniform(5, 30), random.Random(way)
            value = base if model == BASE else base + dice.uniform(-5, 25)
            here |= {"value": value, "low": value - 2, "high": value + 2, "n": 6, "signature": signature}
            if model == BASE:
                rows.append(here)
                continue
            against = {shots, "3-shot"}
            rows += [here | {"baseline": f"{BASE}/{one}", "delta": value - random.Random(way + one).uniform(5, 30),
                             "p_value": dice.choice([0.0001, 0.3])} for one in sorted(against)]  # fmt: skip
            rows.append(here | {"metric": "copy rate", "value": 1.5, "low": None, "high": None, "signature": "pivotlift|copy rate|v2"})
        paths.append(results / f"scores/{model}/{name}/{code}.json")
        files.write_json(paths[-1], {"scores": rows})
    return paths


def test_the_index_names_output_that_is_surely_ill(tmp_path: Path) -> None:
    """German loops and is not German; Thai merely may be ill, since so few answers tell little."""
    measures = {
        "deu_Latn": {"in language": (40, 22, 61), "references in language": (95, 76, 99), "loop rate": (35, 18, 57),
                     "length ratio": (2.6, None, None)},
        "tha_Thai": {"in language": (85, 64, 95), "references in language": (100, 84, 100), "loop rate": (5, 1, 24),
                     "length ratio": (1.9, None, None)},
    }  # fmt: skip
    rows = [
        score.EMPTY | {"model": LIFTED, "benchmark": "udhr", "version": "6", "language": code, "direction": f"eng_Latn-{code}",
                       "protocol": "0-shot", "metric": metric, "value": value, "low": low, "high": high, "n": 20, "signature": "s"}
        for code, found in measures.items() for metric, (value, low, high) in found.items()
    ]  # fmt: skip
    files.write_json(tmp_path / "scores.json", {"scores": rows})
    report = run.Run(collect.read_scores([tmp_path / "scores.json"]), [], {}, [], {}, {}, tmp_path, tmp_path)
    (found,) = report.unhealthy(run.Pair(LIFTED, BASE, frozenset()))
    assert found["way"] == "English → German"
    assert found["wrong"] == "40 % in the language, the references 95 %, 35 % loops, length ratio 2.6"


def test_all_languages_make_a_small_report_quickly(tmp_path: Path) -> None:
    codes = list(languages.registry())
    assert len(codes) >= 204
    for name in ("udhr", "messages"):
        write_flores(tmp_path, name, codes, 5)
    score_files = big_scores(tmp_path, codes, "udhr") + big_scores(tmp_path, codes, "messages")
    start = time.process_time()  # other work on the machine does not count
    run_collect(tmp_path, score_files, write_ledgers(tmp_path, codes), codes, ["udhr", "messages"])
    output = run_site(tmp_path, [*write_models(tmp_path), *write_config(tmp_path, codes, ["udhr", "messages"])])
    assert time.process_time() - start < 60
    assert 400_000 < (output / "index.html").stat().st_size < 1_000_000
    assert (output / "index.html").read_text(encoding="utf-8").count("<figure>") == 4, "both comparisons, the mixture, the loss"
    assert max(path.stat().st_size for path in (output / "languages").iterdir()) < 300_000
    assert len(list((output / "languages").iterdir())) == len(codes)


def test_compact_drawings_are_the_same_drawings() -> None:
    arcs = "M3.2,0A3.2,3.2,0,1,1,-3.2,0A3.2,3.2,0,1,1,3.2,0"
    circle = f'<path transform="translate({{}},7)" d="{arcs}" fill="#222222" stroke="#dddddd"/>'
    line = '<line transform="translate(1,2)" x2="-4.5" y2="0" stroke="#222222"/>'
    found = charts.compact("<g>" + circle.format(1) + circle.format(2) + line + "</g>")
    dots = '<circle cx="1" cy="7" r="3.2"/><circle cx="2" cy="7" r="3.2"/>'
    assert found == f'<g><g fill="#222222" stroke="#dddddd">{dots}</g><path d="M1,2h-4.5" stroke="#222222"/></g>'


def test_the_table_tells_the_gain_of_every_language(report: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table.main(["--reports", str(report), "--benchmark", "udhr"])
    printed = capsys.readouterr().out
    tests = pd.read_csv(report / "significance.csv")
    tests = tests[(tests["metric"] == "chrF++") & (tests["protocol"] == "3-shot")].set_index("direction")
    assert set(tests["baseline"]) == {f"{BASE}/3-shot"}, "examples on both sides"
    assert f"{LIFTED} and its base, both asked 3-shot" in printed
    for code in FEW[1:]:
        (line,) = (line for line in printed.splitlines() if line.startswith(f"| {languages.get(code).name}"))
        shown = [cell.strip() for cell in line.split("|")[2:-1]]
        for cell, way in ((shown[2], f"{code}-eng_Latn"), (shown[5], f"eng_Latn-{code}")):
            mark = {"better": " ▲", "worse": " ▼"}.get(tests.loc[way, "verdict"], "")
            assert cell == f"{tests.loc[way, 'delta']:+.1f}{mark}".replace("-", "−")
    inside = tests[(tests["languages"] == "trained") & tests.index.str.endswith("-eng_Latn")]["verdict"]
    better, worse = (inside == "better").sum(), (inside == "worse").sum()
    assert f"Asked 3-shot, languages trained: {better} of 4 better, {worse} worse into English, on average" in printed
    assert printed.index("Asked 3-shot, languages kept out") < printed.index("Asked 0-shot, languages trained")
    assert "Better and worse: p < 0.05, Holm's correction over the languages of a direction." in printed
    assert "A mean of fewer than 6 languages can never reach that" in printed
    with pytest.raises(UserError, match="no trained model has a score on flores200"):
        table.main(["--reports", str(report), "--benchmark", "flores200"])


def test_the_index_shows_the_tokens_of_each_language_once(report: Path) -> None:
    text = (report / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr><th scope="row"><a href="languages/(\w+).html">[^<]*</a></th><td class="l">' + LIFTED + "</td>(.*?)</tr>", text)
    assert sorted(code for code, _ in rows) == sorted(code for code in FEW if code != KEPT_OUT)
    cells = {code: re.findall(r"<td[^>]*>([^<]*)</td>", row) for code, row in rows}
    place = FEW.index("deu_Latn")
    assert cells["deu_Latn"] == ["Latn", "80", f"{40 + place + 0.5:.1f}", "90", "1.25", "–", "3.8", "97.0", "1"]
    assert cells["zho_Hans"][4:6] == ["–", "1.25"]
    assert [code for code, _ in rows] == [code for code in reversed(FEW) if code != KEPT_OUT]  # the longest rows first


def test_a_leak_is_said_on_the_index(tmp_path: Path) -> None:
    score_files, ledgers = small_run(tmp_path, FEW[:3], 4)
    ledger.write(tmp_path / "audit.csv", [Fact("mixtures", "deu_Latn", "laptop", "rows_contaminated:udhr", 7)])
    run_collect(tmp_path, score_files, [*ledgers, tmp_path / "audit.csv"], FEW[:3], ["udhr", "reading"])
    output = run_site(tmp_path, [*write_models(tmp_path), *write_config(tmp_path, FEW[:3], ["udhr", "reading"])])
    index = (output / "index.html").read_text(encoding="utf-8")
    assert "7 training rows hold text of udhr" in index


def test_training_logs_are_thinned_by_averaging() -> None:
    thinned = charts.thin([{"step": step, "loss": float(step)} for step in range(1, 1001)])
    assert len(thinned) <= charts.LOSS_POINTS
    assert thinned[0] == {"step": 4, "loss": 2.5}
    assert charts.thin([]) == []
