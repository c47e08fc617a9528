"""Mixtures: whole numbers that add up, shares kept, draws that depend on nothing but seed and rows."""

import base64
import json
import os
import random
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from workflow_scripts.common import files, pieces
from workflow_scripts.common.cli import UserError
from workflow_scripts.instructions.table import SCHEMA, single_turn
from workflow_scripts.mixtures import card, export, gate, gather, push
from workflow_scripts.mixtures.audit import CONTAMINATED, audit
from workflow_scripts.mixtures.draw import hashes
from workflow_scripts.mixtures.mix import mix
from workflow_scripts.mixtures.plan import Group, apportion, plan, temperature_weights

ROOT = Path(__file__).resolve().parents[1]


def test_apportion_adds_up_and_respects_limits():
    generator = random.Random(0)
    for _ in range(200):
        names = [f"l{number}" for number in range(generator.randint(1, 12))]
        weights = {name: generator.random() for name in names}
        limits = {name: generator.randint(0, 30) for name in names}
        total = generator.randint(0, 150)
        given = apportion(total, weights, limits)
        assert sum(given.values()) == min(total, sum(limits.values()))
        assert all(0 <= given[name] <= limits[name] for name in names)


def test_what_a_full_group_cannot_take_goes_to_the_others():
    assert apportion(100, {"a": 1, "b": 1, "c": 2}, {"a": 10, "b": 100, "c": 100}) == {"a": 10, "b": 30, "c": 60}


def test_temperature():
    natural = temperature_weights({"big": 10_000, "small": 100}, 1)
    flat = temperature_weights({"big": 10_000, "small": 100}, 100)
    assert natural["big"] / natural["small"] == 100
    assert flat["big"] / flat["small"] == pytest.approx(1.047, abs=0.001)


def instructions(language, count, kind="translation", corpus="a", other="eng_Latn", licence="CC0-1.0"):
    other = language if kind == "general" else other
    rows = []
    for number in range(count):
        ends = (language, other) if number % 2 else (other, language)
        rows.append((f"{language}{kind}{corpus}{number}", kind, *ends, language, f"q{number}", f"a{number}", corpus, licence, "t"))
    names = ["id", "kind", "source_language", "target_language", "language", "request", "answer", "corpus", "licence", "template"]
    return single_turn(pl.DataFrame(rows, schema=names, orient="row"))


@pytest.fixture
def mixed(tmp_path):
    """Write tables as files named 0, 1, ...; mix them; the mixture and its facts."""

    def run(tables, settings, names=None):
        folder = tmp_path / "instructions"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"{name}.parquet" for name in (names or range(len(tables)))]
        for table, path in zip(tables, paths, strict=True):
            table.write_parquet(path)
        facts = mix(paths, "m", settings, run.output, tmp_path)
        return pl.read_parquet(run.output), facts

    run.output = tmp_path / "m.parquet"
    return run


SETTINGS = {
    "examples": 400,
    "shares": {"eng_Latn": 0.25, "zho_Hans": 0.25, "cross-lingual": 0.5},
    "temperature": 5,
    "cap": 150,
    "repeats": 1,
    "corpus_caps": {"lexicon": 0.1},
    "seed": 1,
}
TABLES = [
    instructions("deu_Latn", 900),
    instructions("deu_Latn", 900, corpus="lexicon"),
    instructions("swh_Latn", 80),
    instructions("eng_Latn", 300, "general"),
    instructions("zho_Hans", 300, "general"),
]


def values(facts):
    return {(fact.language, fact.measure): fact.value for fact in facts}


def test_mixture_holds_its_shares_and_the_ledger_adds_up(mixed):
    mixture, facts = mixed(TABLES, SETTINGS)
    assert mixture.height == 400 and mixture["id"].n_unique() == 400
    assert mixture.schema == SCHEMA
    assert Counter(mixture["kind"]) == {"general": 200, "translation": 200}
    found = values(facts)
    assert sum(value for (_, measure), value in found.items() if measure == "rows_drawn" and value) == 400
    assert sum(value for (_, measure), value in found.items() if measure == "share_realised") == pytest.approx(1)
    german = mixture.filter(pl.col("language") == "deu_Latn")
    assert german.height <= 150
    assert german.filter(pl.col("corpus") == "lexicon").height <= 0.1 * german.height
    directions = Counter(german["source_language"])
    assert abs(directions["deu_Latn"] - directions["eng_Latn"]) <= 1


def test_the_draw_is_the_one_that_models_were_trained_on(mixed):
    mixture, _ = mixed(TABLES, SETTINGS)
    assert files.sha256_text(" ".join(mixture["id"]))[:16] == "ffde6c1822013b1f"
    again, _ = mixed(TABLES, SETTINGS | {"repeats": 3, "examples": 1500})
    assert files.sha256_text(" ".join(again["id"]))[:16] == "972f5fc16c036d7d"


def test_hashes_are_those_of_the_standard_library():
    assert hashes("7 order", pl.Series(["a", "ü"])).tolist() == [int(files.sha256_text(f"7 order {name}")[:16], 16) for name in ("a", "ü")]


def test_order_of_input_and_other_languages_do_not_change_the_draw(mixed):
    mixture, _ = mixed(TABLES, SETTINGS)
    shuffled, _ = mixed([table.sample(fraction=1, shuffle=True, seed=3) for table in reversed(TABLES)], SETTINGS)
    assert mixture.equals(shuffled)
    other_seed, _ = mixed(TABLES, SETTINGS | {"seed": 2})
    assert not mixture.equals(other_seed)
    with_one_more, _ = mixed([*TABLES, instructions("hau_Latn", 50)], SETTINGS)
    swahili = [set(table.filter(pl.col("language") == "swh_Latn")["id"]) for table in (with_one_more, mixture)]
    assert swahili[0] <= swahili[1]


def test_threads_and_folders_do_not_change_the_bytes(tmp_path):
    sums = []
    for threads in (1, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        paths = [folder / f"{threads if number == 2 else number}-{number}.parquet" for number in range(len(TABLES))]
        for table, path in zip(TABLES, paths, strict=True):
            table.write_parquet(path)
        command = [sys.executable, "-m", "workflow_scripts.mixtures.mix", "--mixture", "m", "--settings", json.dumps(SETTINGS)]
        command += ["--output", str(folder / "m.parquet"), "--ledger", str(folder / "m.csv"), "--instructions", *map(str, paths)]
        subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"POLARS_MAX_THREADS": str(threads), "TMPDIR": str(folder)})
        sums.append([files.sha256_file(folder / name) for name in ("m.parquet", "m.csv")])
    assert sums[0] == sums[1]


def test_rows_gathered_in_pieces_are_the_same_rows_in_the_same_order(mixed, monkeypatch):
    whole, _ = mixed(TABLES, SETTINGS)
    monkeypatch.setattr(pieces, "ROWS", 7)
    monkeypatch.setattr(gather, "MOST", 5)
    assert mixed(TABLES, SETTINGS)[0].equals(whole)


def test_repeats_fill_up_a_small_list(mixed):
    settings = SETTINGS | {"shares": {"eng_Latn": 1.0}, "examples": 700, "repeats": 3}
    mixture, _ = mixed([instructions("eng_Latn", 300, "general")], settings)
    assert mixture.height == 700 and mixture["id"].n_unique() == 700
    assert set(Counter(row[0]["content"] for row in mixture["messages"]).values()) == {2, 3}


def test_nothing_to_draw_is_an_error(mixed):
    with pytest.raises(UserError, match="nothing to draw from"):
        mixed([instructions("nld_Latn", 10)], SETTINGS | {"shares": {"eng_Latn": 1.0}})


def test_kinds_are_drawn_by_weight_and_none_unasked(mixed):
    tables = [*TABLES, instructions("deu_Latn", 300, "constrained"), instructions("swh_Latn", 4, "constrained")]
    assert set(mixed(tables, SETTINGS)[0]["kind"]) == {"general", "translation"}
    mixture, facts = mixed(tables, SETTINGS | {"kinds": {"translation": 3.0, "constrained": 1.0}})
    count = Counter(zip(mixture["language"], mixture["kind"], strict=True))
    german = count["deu_Latn", "translation"] + count["deu_Latn", "constrained"]
    assert abs(count["deu_Latn", "constrained"] - german / 4) <= 1
    assert count["swh_Latn", "constrained"] == 4  # it has no more; the rest is translation
    assert values(facts)["deu_Latn", "rows_drawn:constrained"] == count["deu_Latn", "constrained"]


def test_phases_come_in_order_with_shares_of_their_own_and_no_row_twice(mixed):
    early = {"share": 0.75, "shares": {"eng_Latn": 0.5, "zho_Hans": 0.5}}
    late = {"share": 0.25, "shares": {"cross-lingual": 1.0}}
    mixture, facts = mixed(TABLES, SETTINGS | {"phases": [early, late]})
    assert set(mixture["kind"][:300]) == {"general"}
    assert set(mixture["kind"][300:]) == {"translation"}
    assert mixture["id"].n_unique() == 400
    assert values(facts)["deu_Latn", "rows_drawn:phase 2"] + values(facts)["swh_Latn", "rows_drawn:phase 2"] == 100
    assert values(facts)["eng_Latn", "share_planned"] == pytest.approx(0.375)


def noise(part, whole, drawn):
    """Standard deviation of how many of `part` rows out of `whole` are among `drawn` that are taken at random."""
    share = part / whole
    return (drawn * share * (1 - share) * (whole - drawn) / max(1, whole - 1)) ** 0.5


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_tenth_of_a_phase_has_the_shares_of_the_phase(mixed, seed):
    """For each language, kind and direction, to within sampling noise."""
    tables = [instructions(code, 2000) for code in ("deu_Latn", "swh_Latn", "tha_Thai")]
    tables += [instructions("deu_Latn", 900, "constrained"), instructions("tha_Thai", 900, "constrained")]
    tables += [instructions("eng_Latn", 4000, "general"), instructions("zho_Hans", 4000, "general")]
    phases = [
        {"share": 0.45, "shares": {"eng_Latn": 0.5, "zho_Hans": 0.32, "cross-lingual": 0.18}},
        {"share": 0.25, "shares": {"eng_Latn": 0.2, "cross-lingual": 0.8}, "kinds": {"translation": 1.0}},
        {"share": 0.3, "shares": {"zho_Hans": 0.4, "cross-lingual": 0.6}},
    ]
    kinds = {"translation": 3.0, "constrained": 1.0}
    settings = SETTINGS | {"examples": 6000, "cap": 6000, "kinds": kinds, "phases": phases, "seed": seed}
    mixture, _ = mixed(tables, settings)
    assert json.loads(pq.read_schema(mixed.output).metadata[b"phases"]) == [2700, 1500, 1800]
    start = 0
    for phase in phases:
        rows = mixture[start : start + round(6000 * phase["share"])]
        start += rows.height
        groups = Counter(rows.select("language", "kind", "source_language").iter_rows())
        assert len(groups) > 4
        for tenth in range(10):
            few = rows[tenth * rows.height // 10 : (tenth + 1) * rows.height // 10]
            found = Counter(few.select("language", "kind", "source_language").iter_rows())
            for group, count in groups.items():
                expected = count / 10
                assert abs(found[group] - expected) < 4.5 * noise(count, rows.height, few.height), (phase, tenth, group)


def test_a_mixture_without_phases_says_nothing_of_them(mixed):
    mixed(TABLES, SETTINGS)
    assert not pq.read_schema(mixed.output).metadata


def test_a_later_phase_goes_on_where_the_first_one_stopped():
    stock = {Group("deu_Latn", "translation", "eng_Latn", "deu_Latn"): 100, Group("swh_Latn", "translation", "eng_Latn", "swh_Latn"): 30}
    settings = {"examples": 120, "repeats": 1, "cap": 90, "temperature": 1, "shares": {"cross-lingual": 1.0}}
    counts, _ = plan(stock, settings | {"phases": [{"share": 0.5}, {"share": 0.5}]})
    assert sum(map(sum, counts.values())) == 120
    assert {group.language: sum(rows) for group, rows in counts.items()} == {"deu_Latn": 90, "swh_Latn": 30}


def test_one_pivot_leaves_the_other_ones_ties_out(mixed):
    tables = [instructions("deu_Latn", 50), instructions("deu_Latn", 50, corpus="b", other="zho_Hans"), instructions("zho_Hans", 50)]
    mixture, _ = mixed(tables, SETTINGS | {"shares": {"cross-lingual": 1.0}, "pivots": ["eng_Latn"]})
    ends = set(zip(mixture["source_language"], mixture["target_language"], strict=True))
    assert ends == {("deu_Latn", "eng_Latn"), ("eng_Latn", "deu_Latn"), ("zho_Hans", "eng_Latn"), ("eng_Latn", "zho_Hans")}


def test_forbidden_licences_are_left_out_and_counted(mixed):
    tables = [instructions("deu_Latn", 60), instructions("deu_Latn", 40, corpus="b", licence="CC-BY-NC-4.0")]
    mixture, facts = mixed(tables, SETTINGS | {"shares": {"cross-lingual": 1.0}, "forbidden": ["CC-BY-NC-4.0"]})
    assert set(mixture["licence"]) == {"CC0-1.0"} and mixture.height == 60
    assert values(facts)["deu_Latn", "rows_forbidden"] == 40


def test_an_export_has_a_card_and_opens_in_datasets(mixed, tmp_path):
    import datasets
    import yaml

    mixture, _ = mixed([*TABLES, instructions("swh_Latn", 90, corpus="django", licence="BSD-3-Clause")], SETTINGS)
    text = card.card(tmp_path / "m.parquet", "m", SETTINGS)
    front = yaml.safe_load(text.split("---")[1])
    assert front["license_name"] == "several" and "swh" in front["language"]
    django = mixture.filter(pl.col("corpus") == "django").height
    assert f"| django | BSD-3-Clause | {django} | Django Software Foundation and its volunteer translators, Django |" in text
    files.write_text(tmp_path / "m.card.md", text)
    arguments = ["--mixture", str(tmp_path / "m.parquet"), "--card", str(tmp_path / "m.card.md"), "--output", str(tmp_path / "out")]
    export.main(arguments)
    info = files.read_json(tmp_path / "out/dataset_info.json")
    for entry in info.values():
        path = tmp_path / "out" / entry["file_name"]
        rows = datasets.load_dataset(path.suffix[1:].replace("jsonl", "json"), data_files=str(path), split="train", cache_dir=str(tmp_path))
        assert [row[1]["content"] for row in rows[entry["columns"]["messages"]]] == [row[1]["content"] for row in mixture["messages"]]


def test_push_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(UserError, match="is no exported mixture"):
        push.main(["--folder", str(tmp_path), "--repository", "a/b"])
    files.write_text(tmp_path / "README.md", "")
    with pytest.raises(UserError, match="HF_TOKEN is not set"):
        push.main(["--folder", str(tmp_path), "--repository", "a/b"])


def test_push_uploads_the_folder_and_stays_private(tmp_path):
    """The real client against a server that speaks the hub's protocol for small files (large ones go another way, not tried here)."""
    uploaded, created = {}, []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer({})

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/repos/create":
                created.append(json.loads(body) | {"token": self.headers["Authorization"]})
                self.answer({"url": "http://127.0.0.1/datasets/me/m"})
            elif self.path == "/api/datasets/me/m/preupload/main":
                entries = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in json.loads(body)["files"]]
                self.answer({"files": entries})
            elif self.path == "/api/datasets/me/m/commit/main":
                for entry in map(json.loads, body.splitlines()):
                    if entry["key"] == "file":
                        uploaded[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
                self.answer({"commitUrl": "http://127.0.0.1/datasets/me/m/commit/0", "commitOid": "0" * 40})
            else:
                self.answer({"errors": [], "warnings": []})

        def answer(self, value):
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(value).encode())

        def log_message(self, *_):
            pass

    folder = tmp_path / "out"
    for name in ("README.md", "data/train.parquet"):
        files.write_text(folder / name, f"text of {name}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [sys.executable, "-m", "workflow_scripts.mixtures.push", "--folder", str(folder), "--repository", "me/m"]
    unset = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    own = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_made_up"}
    done = subprocess.run(command, cwd=ROOT, env=unset | own, capture_output=True, text=True, timeout=50)
    server.shutdown()
    assert done.returncode == 0, done.stderr
    assert uploaded == {name: f"text of {name}".encode() for name in ("README.md", "data/train.parquet")}
    assert created == [{"name": "m", "organization": "me", "type": "dataset", "visibility": "private", "token": "Bearer hf_made_up"}]
    assert "hf_made_up" not in done.stdout + done.stderr


def benchmark(folder, language, *texts):
    items = [{"split": "devtest", "item": number, "text": text} for number, text in enumerate(texts)]
    files.write_json(folder / f"test/{language}.json", {"benchmark": "test", "language": language, "items": items})


def test_audit_counts_rows_with_benchmark_text_and_explains_languages_without_rows(tmp_path):
    mixture = instructions("zho_Hans", 4)
    turns = [{"role": "user", "content": "Translate.\nChinese: 打开文件夹\nEnglish:"}, {"role": "assistant", "content": "Open the folder"}]
    planted = mixture.head(1).with_columns(id=pl.lit("planted"), messages=pl.Series([turns], dtype=mixture.schema["messages"]))
    for language, text in {"zho_Hans": "打开文件夹", "eng_Latn": "Open the folder", "deu_Latn": "Etwas ganz anderes"}.items():
        benchmark(tmp_path, language, text)
    settings = {"languages": ["eng_Latn", "zho_Hans", "deu_Latn"], "kept_out": ["deu_Latn"], "benchmarks": ["test"]}
    settings["decontamination"] = {"ngram": 4, "similarity": 0.6}
    facts, table = audit(pl.concat([mixture, planted]), "m", tmp_path, settings)
    # Both sides, the short Chinese one known by itself only; a row's own languages do not limit the search.
    assert table.rows() == [
        ("planted", "zho_Hans", "test", "eng_Latn", "devtest", "0"),
        ("planted", "zho_Hans", "test", "zho_Hans", "devtest", "0"),
    ]
    counts = {fact.language: fact.value for fact in facts if fact.measure == "rows_contaminated:test"}
    assert counts == {"eng_Latn": 0, "zho_Hans": 1, "deu_Latn": 0}
    assert {fact.language: fact.reason for fact in facts if fact.reason} == {
        "eng_Latn": "n/a: no instruction was drawn in this language",
        "deu_Latn": "n/a: kept out of training",
    }


HELD = {
    "eng_Latn": "The ferry to the island leaves at seven in the morning.",
    "deu_Latn": "Die Fähre zur Insel fährt morgens um sieben Uhr ab.",
    "swh_Latn": "Kivuko cha kwenda kisiwani huondoka saa moja asubuhi.",
    "zho_Hans": "开往岛上的渡轮早上七点出发，请提前到达码头。",
    "zho_Hant": "開往島上的渡輪早上七點出發，請提前到達碼頭。",
}
SEARCHED = {"ngram": 4, "similarity": 0.6, "against": ["test"], "languages": sorted(HELD)}


def planted(table, text, count):
    """The table with `text` in the last turn of its first `count` rows, as part of a longer one."""
    rows = table["messages"].to_list()
    for number, turns in enumerate(rows[:count]):
        turns[-1]["content"] += f": {text} ({number})"
    return table.with_columns(messages=pl.Series(rows, dtype=table.schema["messages"]))


@pytest.mark.parametrize(
    ("language", "kind", "text_in"),
    [
        ("deu_Latn", "translation", "swh_Latn"),
        ("zho_Hans", "translation", "zho_Hant"),  # Traditional characters in a corpus of Simplified
        ("eng_Latn", "general", "swh_Latn"),
    ],
)
def test_rows_with_benchmark_text_of_any_language_are_left_out_replaced_and_counted(mixed, tmp_path, language, kind, text_in):
    for code, text in HELD.items():
        benchmark(tmp_path, code, text)
    part = language if kind == "general" else "cross-lingual"
    settings = SETTINGS | {"examples": 60, "shares": {part: 1.0}, "repeats": 2}
    table = planted(instructions(language, 90, kind), HELD[text_in], 20)
    bad, audited = set(table["id"][:20]), {"languages": sorted(HELD), "kept_out": [], "benchmarks": ["test"], "decontamination": SEARCHED}

    mixture, facts = mixed([table], settings)
    before = audit(mixture, "m", tmp_path, audited)[1]
    assert set(before["row"]) == set(mixture["id"]) & bad and set(before["benchmark_language"]) == {text_in}
    assert before.height > 5 and not any(fact.measure.startswith("contaminated:") for fact in facts)

    mixture, facts = mixed([table], settings | {"decontamination": SEARCHED})
    found, left_out = values(facts), values(facts)[language, "contaminated:test"]
    assert mixture.height == found[language, "rows_drawn"] == 60 and not audit(mixture, "m", tmp_path, audited)[1].height
    assert before.height <= left_out <= 20  # those that took the place of others were searched, too
    assert found[language, "rows_available"] == 2 * (90 - left_out)
    # The others are drawn as if these rows had never been there.
    assert mixed([table.filter(~pl.col("id").is_in(bad))], settings)[0].equals(mixture)


def test_text_of_a_language_that_is_not_searched_for_stays_and_the_audit_finds_it(mixed, tmp_path):
    for code, text in HELD.items():
        benchmark(tmp_path, code, text)
    settings = SETTINGS | {"examples": 40, "shares": {"cross-lingual": 1.0}}
    table = planted(instructions("deu_Latn", 40), HELD["swh_Latn"], 3)
    without = SEARCHED | {"languages": sorted(set(HELD) - {"swh_Latn"})}
    mixture, facts = mixed([table], settings | {"decontamination": without})
    assert values(facts)["deu_Latn", "contaminated:test"] == 0 and mixture.equals(mixed([table], settings)[0])
    audited = {"languages": sorted(HELD), "kept_out": ["swh_Latn"], "benchmarks": ["test"], "decontamination": SEARCHED}
    assert set(audit(mixture, "m", tmp_path, audited)[1]["row"]) == set(table["id"][:3])


def test_a_language_that_is_nothing_but_benchmark_text_is_left_out_and_the_others_take_its_rows(mixed, tmp_path):
    for code, text in HELD.items():
        benchmark(tmp_path, code, text)
    tables = [planted(instructions("swh_Latn", 30), HELD["deu_Latn"], 30), instructions("deu_Latn", 90)]
    settings = SETTINGS | {"examples": 50, "shares": {"cross-lingual": 1.0}, "decontamination": SEARCHED}
    mixture, facts = mixed(tables, settings)
    assert mixture.height == 50 and set(mixture["language"]) == {"deu_Latn"}
    found = values(facts)
    assert (found["swh_Latn", "contaminated:test"], found["swh_Latn", "rows_available"], found["swh_Latn", "rows_drawn"]) == (30, 0, 0)
    with pytest.raises(UserError, match="nothing to draw from"):
        mixed([tables[0]], settings)


def test_the_gate_names_benchmarks_and_languages_and_lets_as_many_rows_pass_as_allowed(tmp_path):
    hits = [("a", "deu_Latn", "flores200", "deu_Latn", "dev", "1"), ("a", "deu_Latn", "flores200", "eng_Latn", "dev", "1")]
    hits += [("b", "swh_Latn", "flores200", "eng_Latn", "dev", "7"), ("b", "swh_Latn", "belebele", "eng_Latn", "devtest", "x#1")]
    pl.DataFrame(hits, schema=CONTAMINATED, orient="row").write_csv(tmp_path / "m.contaminated.csv")
    arguments = ["--contaminated", str(tmp_path / "m.contaminated.csv"), "--output", str(tmp_path / "passed"), "--most"]
    with pytest.raises(UserError, match=r"^2 rows .* allows 1: belebele 1 \(swh_Latn 1\); flores200 2 \(deu_Latn 1, swh_Latn 1\)\. "):
        gate.main([*arguments, "1"])
    assert not (tmp_path / "passed").exists()
    gate.main([*arguments, "2"])
    assert (tmp_path / "passed").exists()
