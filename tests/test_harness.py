"""What lm-evaluation-harness asks: its tasks for each language, rows without a hub, the harness's own numbers, one file a language."""

import csv
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from tests import tiny_model, workspace
from workflow_scripts.benchmarks import harness as benchmark_files
from workflow_scripts.common import archives, contamination, files, harness, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.mixtures.audit import audit
from workflow_scripts.predictions import harness as asking
from workflow_scripts.scores import score

lm_eval = pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed (make setup)")

SHARED = workspace.ROOT.parent / "shared" / "data"
ROWS = tables.read(harness.TABLE)
XNLI = {"folder": "xnli", "shots": 0, "metrics": ["acc"], "cluster": "premise", "batch_size": 4}
ARC = {"folder": "okapi/arc_multilingual", "shots": 0, "metrics": ["acc_norm", "acc"], "cluster": "", "batch_size": 4}
ANIMALS = ("cat", "dog", "owl", "hen", "fox", "bee")


def write_xnli(folder: Path, code: str, count: int = 6) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = ("neutral", "entailment", "contradiction")
    lines = [f'The {code} {ANIMALS[n // 3]} said "yes".\tA {ANIMALS[n % 6]} spoke {n} times.\t{labels[n % 3]}' for n in range(3 * count)]
    (folder / f"dev-{code}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def write_arc(folder: Path, code: str) -> Path:
    """Official layout: a fifth option only where there is one, and not in the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("test", 8), ("validation", 3), ("train", 5)):
        items = []
        for n in range(count):
            options = {f"option_{letter}": f"{split} {ANIMALS[(n + place) % 6]}" for place, letter in enumerate("abcd" + "e" * (n == 1))}
            items.append({"id": f"{split}/{n}", "answer": "ABCD"[n % 4], "instruction": f"Which of them flies {n}?"} | options)
        (folder / f"{code}_{split}.json").write_text(json.dumps(items), encoding="utf-8")
    return folder


def prepare(folder: Path, benchmark: str, languages: list[str], **settings: Any) -> None:
    for language in languages:
        about = json.dumps({"shots": 0} | settings)
        arguments = ["--benchmark", benchmark, "--language", language, "--settings", about]
        benchmark_files.main([*arguments, "--output", str(folder / f"{language}.json")])


def ask(place: Path, model: Path, languages: list[str], settings: dict[str, Any]) -> None:
    """Ask what is prepared in `place`/benchmark; answers in `place`/<model's folder>."""
    folders = {"--model-folder": model / "model", "--manifest": model / "manifest.json", "--benchmark-folder": place / "benchmark"}
    folders |= {"--work": place / model.name / ".shard-000", "--output-folder": place / model.name}
    arguments = ["--model", model.name, "--languages", *languages, "--settings", json.dumps(settings)]
    asking.main(arguments + [str(part) for entry in folders.items() for part in entry])


def scores(place: Path, model: str, base: str, languages: list[str], *contaminated: Path) -> list[dict[str, Any]]:
    given = {"--model": model, "--benchmark-folder": place / "benchmark", "--predictions-folder": place / model, "--workers": 1}
    given |= {"--baseline": f"{base}={place / base}", "--output-folder": place / "scores", "--settings": '{"resamples": 200}'}
    more = ["--contaminated", *map(str, contaminated)]
    score.main(["--languages", *languages, *more, *(str(part) for entry in given.items() for part in entry)])
    return [row for language in languages for row in files.read_json(place / f"scores/{language}.json")["scores"]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny models that judge differently."""
    found = []
    for seed, name in enumerate(("base", "lifted")):
        folder = tmp_path_factory.getbasetemp() / name
        tiny_model.make(folder / "model", seed)
        files.write_json(folder / "manifest.json", {"fingerprint": name * 16})
        found.append(folder)
    return found[0], found[1]


@pytest.mark.parametrize("benchmark", ROWS)
def test_the_harness_has_each_task_of_the_table_on_that_data_set(benchmark: str) -> None:
    row = ROWS[benchmark]
    for language, code in harness.codes(row).items():
        tables.row("languages", language)
        configs = benchmark_files.task_configs(row, code)
        assert len(configs) == 1 or code == "*"
        for config in configs.values():
            offered = [entry["metric"] for entry in config["metric_list"]]
            filters = [entry["name"] for entry in config.get("filter_list", ())]
            assert config["dataset_path"] == row["hub"] and code in (config["dataset_name"] or "*", "*")
            for metric, _, filtered in (name.partition(",") for name in row["metrics"].split()):
                # The harness adds acc_norm to no task by itself.
                assert metric in offered and (not filtered or filtered in filters)
            if row["cluster"]:
                assert row["cluster"] in str(config["doc_to_choice"])


def test_questions_of_every_language_are_asked_once_and_scored_beside_the_base(tmp_path, models, capsys):
    _, lifted = models
    folder = write_xnli(write_xnli(tmp_path / "data", "de"), "sw")
    languages = ["deu_Latn", "swh_Latn", "zul_Latn", "tha_Thai"]
    prepare(tmp_path / "benchmark", "xnli", languages, path=str(folder))
    for model in models:
        ask(tmp_path, model, languages, XNLI)
    rows = scores(tmp_path, "lifted", "base", languages)
    assert [row["reason"] for row in rows if row["reason"]] == ["n/a: XNLI has no Zulu", "n/a: the local folder of XNLI has no Thai"]
    assert {row["direction"] for row in rows} == set(languages)
    for language in languages[:2]:
        row, *shares = (row for row in rows if row["language"] == language)
        assert [share["metric"] for share in shares] == ["option A", "option B", "option C"][: len(shares)]
        assert sum(share["value"] for share in shares) == pytest.approx(100)
        right = {model.name: graded(tmp_path / model.name / f"{language}.jsonl", "acc") for model in models}
        assert (row["metric"], row["protocol"], row["n"], row["baseline"]) == ("accuracy", "0-shot", 18, "base/0-shot")
        assert row["value"] == 100 * sum(right["lifted"]) / 18 and row["low"] < row["value"] < row["high"]
        assert row["delta"] == pytest.approx(row["value"] - 100 * sum(right["base"]) / 18) and 0 < row["p_value"] <= 1
        assert f"lm-eval:{lm_eval.__version__}|task:xnli_{'de' if language == 'deu_Latn' else 'sw'}|task-version:1.0|" in row["signature"]
        assert "|metric:acc|interval:wilson|paired:passages|" in row["signature"]  # three hypotheses share a premise

    capsys.readouterr()
    ask(tmp_path, lifted, languages, XNLI | {"batch_size": 2})
    assert "languages asked 0, of 4" in capsys.readouterr().err
    before = (tmp_path / "lifted/deu_Latn.jsonl").read_bytes()
    (tmp_path / "lifted/deu_Latn.jsonl").unlink()
    write_xnli(folder, "sw", count=4)
    prepare(tmp_path / "benchmark", "xnli", ["swh_Latn"], path=str(folder))
    ask(tmp_path, lifted, ["deu_Latn"], XNLI | {"batch_size": 2})
    assert (tmp_path / "lifted/deu_Latn.jsonl").read_bytes() == before
    ask(tmp_path, lifted, languages, XNLI)
    assert "languages asked 1, of 4" in capsys.readouterr().err.splitlines()[-1]


def graded(path: Path, metric: str) -> list[int]:
    return [dict(line["graded"])[metric] for line in files.read_jsonl(path)]


def test_numbers_are_those_of_the_harness_asked_directly(tmp_path, models):
    """The same rows as JSON lines under the harness's own task, its model class made by itself, examples drawn by it."""
    settings = ARC | {"shots": 2, "limit": 7}
    folder = write_arc(tmp_path / "data", "de")
    prepare(tmp_path / "benchmark", "m_arc", ["deu_Latn"], path=str(folder), shots=2)
    ask(tmp_path, models[0], ["deu_Latn"], settings)
    from lm_eval.tasks import TaskManager

    task = Path(lm_eval.__file__).parent / "tasks/okapi/arc_multilingual/arc_de.yaml"
    data = {}
    for split in ("train", "validation", "test"):
        data[split] = str(tmp_path / f"{split}.jsonl")
        files.write_jsonl(Path(data[split]), [{"option_e": None} | row for row in files.read_json(folder / f"de_{split}.json")])
    over = {"include": str(task), "task": "direct", "dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": data}}
    (tmp_path / "direct.yaml").write_text(yaml.safe_dump(over), encoding="utf-8")
    found = lm_eval.simple_evaluate(
        model="hf",
        model_args=f"pretrained={models[0] / 'model'},dtype=float32",
        device="cpu",
        batch_size=3,
        tasks=["direct"],
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False),
        num_fewshot=2,
        limit=7,
        bootstrap_iters=0,
    )
    lines = files.read_jsonl(tmp_path / "base/deu_Latn.jsonl")
    assert {line["protocol"] for line in lines} == {"2-shot"}
    for metric in ("acc", "acc_norm"):
        asked_there = sorted(found["samples"]["direct"], key=lambda sample: sample["doc_id"])
        ours = graded(tmp_path / "base/deu_Latn.jsonl", metric)
        assert ours == [sample[metric] for sample in asked_there]
        assert sum(ours) / 7 == found["results"]["direct"][f"{metric},none"]
    files.write_jsonl(tmp_path / "lifted/deu_Latn.jsonl", lines)
    rows = scores(tmp_path, "lifted", "base", ["deu_Latn"])
    found_there = {row["metric"]: row["signature"].split("|metric:")[1].split("|")[0] for row in rows if "|metric:" in row["signature"]}
    assert found_there == {"accuracy": "acc_norm", "acc": "acc"}  # the first metric of the table is the one that is judged by


def test_a_copy_of_the_hubs_folder_is_read_as_its_card_says(tmp_path):
    import pandas as pd

    folder = tmp_path / "ai2_arc"
    (folder / "ARC-Challenge").mkdir(parents=True)
    choices = {"text": ["air", "water"], "label": ["A", "B"]}
    rows = [{"id": str(n), "question": f"What is {n}?", "choices": choices, "answerKey": "B"} for n in range(3)]
    for split in ("train", "test"):
        pd.DataFrame(rows).to_parquet(folder / f"ARC-Challenge/{split}-00000-of-00001.parquet")
    card = {
        "configs": [
            {"config_name": "ARC-Challenge", "data_files": [{"split": s, "path": f"ARC-Challenge/{s}-*"} for s in ("train", "test")]}
        ]
    }
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump(card)}---\n", encoding="utf-8")
    found = benchmark_files.prepare("arc_challenge", "eng_Latn", {"path": str(folder), "shots": 1})
    assert [item["item"] for item in found["items"]] == [f"arc_challenge/{part}{n}" for part in ("", "train/") for n in range(3)]
    assert found["items"][0]["doc"] == rows[0]
    assert (
        benchmark_files.prepare("arc_challenge", "deu_Latn", {"path": str(folder), "shots": 1})["reason"]
        == "n/a: ARC-Challenge has no German"
    )


def test_rows_come_from_the_hub_at_the_commit_that_is_recorded(tmp_path):
    """A local server that speaks as much of the hub's protocol as the hub's own libraries ask for."""
    import pandas as pd

    commit, label = "c0ffee" * 6 + "beef", "label"
    pd.DataFrame([{"premise": f"p{n}", "hypothesis": f"h{n}", label: n % 3} for n in range(4)]).to_parquet(tmp_path / "rows.parquet")
    card = {"configs": [{"config_name": "de", "data_files": [{"split": "validation", "path": "de/validation-*"}]}]}
    content = {
        "README.md": f"---\n{yaml.safe_dump(card)}---\n".encode(),
        "de/validation-0.parquet": (tmp_path / "rows.parquet").read_bytes(),
    }

    def entry(name: str) -> dict[str, Any]:
        return (
            {"type": "file", "path": name, "size": len(content[name]), "oid": "0"}
            if name in content
            else {"type": "directory", "path": name, "oid": "0"}
        )

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            about, _, rest = self.path.split("?")[0].partition(f"/{commit}")
            if about == "/api/datasets/facebook/xnli/tree":
                names = [name for name in (*content, "de") if name.rpartition("/")[0] == rest.strip("/")]
                self.answer(200, json.dumps([entry(name) for name in names]).encode())
            elif about.startswith("/api/datasets/facebook/xnli/revision"):
                self.answer(200, json.dumps({"id": "facebook/xnli", "sha": commit, "siblings": []}).encode())
            elif about == "/datasets/facebook/xnli/resolve" and rest[1:] in content:
                self.answer(200, content[rest[1:]])
            else:
                self.answer(404, b"{}")

        do_HEAD = do_GET

        def answer(self, status: int, data: bytes) -> None:
            self.send_response(status)
            for name, value in (
                ("Content-Length", len(data)),
                ("ETag", f'"{len(data)}"'),
                ("X-Repo-Commit", commit),
                ("X-Error-Code", "EntryNotFound"),
            ):
                if status == 404 or name != "X-Error-Code":
                    self.send_header(name, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "workflow_scripts.benchmarks.harness", "--benchmark", "xnli", "--language", "deu_Latn"]
    command += ["--settings", '{"shots": 0}', "--output", str(tmp_path / "deu_Latn.json")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    server.shutdown()
    assert done.returncode == 0, done.stderr
    found = files.read_json(tmp_path / "deu_Latn.json")
    assert found["source"] == f"facebook/xnli@{commit[:12]}"
    assert [item["doc"]["premise"] for item in found["items"]] == ["p0", "p1", "p2", "p3"]


def test_chinese_exams_are_read_from_their_official_tables(tmp_path):
    for split in ("test", "dev"):
        for task, config in benchmark_files.task_configs(ROWS["cmmlu"], "*").items():
            path = tmp_path / split / f"{config['dataset_name']}.csv"
            path.parent.mkdir(exist_ok=True)
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["", "Question", "A", "B", "C", "D", "Answer"], ["0", f"{task},\n{split}?", *"甲乙丙丁", "C"]])
    found = benchmark_files.prepare("cmmlu", "zho_Hans", {"path": str(tmp_path), "shots": 5})
    assert len(found["items"]) == 67 * 2 and {item["split"] for item in found["items"]} == {"test", "dev"}
    assert found["items"][0]["doc"] | {"": "0"} == {
        "": "0",
        "Question": "cmmlu_agronomy,\ntest?",
        **dict(zip("ABCD", "甲乙丙丁", strict=True)),
        "Answer": "C",
    }


@pytest.mark.parametrize(
    ("benchmark", "settings", "message"),
    [
        ("xnli", {"path": "empty"}, "empty has no file of XNLI in a known layout"),
        ("m_hellaswag", {"path": "empty"}, "no file of m_HellaSwag"),
        ("xnli", {"path": "xnli", "shots": 2}, "has no split train, which worked examples come from. Set `shots: 0`"),
        ("mgsm", {"path": "broken"}, "mgsm_de.tsv is not in the official layout"),
        ("mgsm", {"path": "coded"}, "coded could not be read as a data set"),
    ],
)
def test_what_a_folder_lacks_is_said(tmp_path, monkeypatch, benchmark, settings, message):
    monkeypatch.chdir(tmp_path)
    write_xnli(tmp_path / "xnli", "de")
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "coded").mkdir()
    for name, text in (("README.md", "A card."), ("coded.py", "import pathlib\npathlib.Path('ran').touch()\n")):
        (tmp_path / "coded" / name).write_text(text, encoding="utf-8")
    (tmp_path / "broken/mgsm_de.tsv").write_text("How many?\tthree\n", encoding="utf-8")
    with pytest.raises(UserError, match=message):
        benchmark_files.prepare(benchmark, "deu_Latn", {"shots": 0} | settings)
    assert not (tmp_path / "ran").exists()


def test_one_more_benchmark_of_the_harness_plans_its_own_jobs_only(tmp_path):
    folder = workspace.copy(tmp_path / "pivotlift")
    write_xnli(tmp_path / "xnli", "sw")
    (folder / "more.yaml").write_text(yaml.safe_dump({"evaluate": {"harness": {"xnli": {"path": str(tmp_path / "xnli"), "limit": 9}}}}))
    target = "results/scores/gemma-3-270m-trimmed/xnli/swh_Latn.json"
    counts = workspace.planned(folder, target, "--configfile", "more.yaml")
    assert counts["predict"] == counts["score"] == 1
    assert 1 <= counts["harness_benchmark"] <= 12 and "trained_model" not in counts


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real benchmarks in ../shared/data")
@pytest.mark.parametrize(
    ("benchmark", "archive", "below", "split", "count"),
    [
        ("xnli", "xnli_dev", "", "validation", {2490}),
        ("m_arc", "m_arc", "m_arc", "test", range(1100, 1171)),
        ("xcopa", "xcopa", "data", "test", {500}),
        ("mgsm", "mgsm", "mgsm", "test", {250}),
    ],
)
def test_the_real_sets_are_whole_in_every_language(tmp_path, benchmark, archive, below, split, count):
    import tarfile

    with tarfile.open(SHARED / f"{archive}.tar.xz") as file:
        file.extractall(tmp_path, filter="data")
    for language, code in harness.codes(ROWS[benchmark]).items():
        path = harness.local_files(ROWS[benchmark], tmp_path / below, code)[split]
        assert len(benchmark_files.read_rows(path, benchmark)) in count, language


def mixture_of(language: str, conversations: list[tuple[str, str]]) -> pl.DataFrame:
    """Rows "0", "1", ... of one question and its answer each."""
    messages = [[{"role": "user", "content": asked}, {"role": "assistant", "content": said}] for asked, said in conversations]
    return pl.DataFrame({"id": [str(number) for number in range(len(messages))], "language": language, "messages": messages})


def audited(mixture: pl.DataFrame, folder: Path, benchmark: str, languages: list[str]) -> tuple[int, pl.DataFrame]:
    """Rows of the mixture that the audit counts, and what it found."""
    settings = {"languages": languages, "kept_out": [], "benchmarks": [benchmark], "decontamination": {"ngram": 4, "similarity": 0.6}}
    facts, table = audit(mixture, "m", folder, settings)
    counts = [fact.value for fact in facts if fact.measure == f"rows_contaminated:{benchmark}"]
    assert len(counts) == len(languages)
    return int(sum(count or 0 for count in counts)), table


ITEM = {
    "xnli": {"doc": {"premise": "x" * 63, "hypothesis": "y" * 64, "label": 1}, "known_by": ["x" * 63 + " " + "y" * 64]},
    "xcopa": {
        "doc": {
            "premise": "The man turned on the tap.",
            "choice1": "Water flowed.",
            "choice2": "The toilet was full.",
            "question": "cause",
        },
        "known_by": [
            "The man turned on the tap. Water flowed.",
            "The man turned on the tap. The toilet was full.",
            "The man turned on the tap. Water flowed. The toilet was full.",
        ],
    },
    "arc_challenge": {
        "doc": {"question": "Why?", "choices": {"text": ["x" * 70, "no"], "label": ["A", "B"]}},
        "known_by": ["x" * 70, "Why? " + "x" * 70 + " no"],
    },
    "mmlu": {
        "doc": {"question": "水为什么会结冰请选择一个最合适的答案", "choices": ["冷", "热"]},
        "known_by": ["水为什么会结冰请选择一个最合适的答案 冷 热"],
    },
    "m_hellaswag": {
        "doc": {"ctx_a": "A man sits on a roof.", "ctx_b": "he", "endings": ["x" * 64, "falls"]},
        "known_by": ["x" * 64, "A man sits on a roof. he " + "x" * 64 + " falls"],
    },
    "mgsm": {"doc": {"question": "How many ducks are there?", "answer": None, "answer_number": 4}, "known_by": []},
}


@pytest.mark.parametrize("benchmark", ITEM)
def test_the_table_says_by_which_texts_an_item_is_known(tmp_path, benchmark):
    """From 64 characters on (dense scripts 32), texts that stand together from half of that on; never a label."""
    item = {"item": "task/7", "task": "task", "split": "test", "doc": ITEM[benchmark]["doc"]}
    evidence = ROWS[benchmark]["evidence"].split()
    files.write_json(tmp_path / "x.json", {"benchmark": benchmark, "language": "eng_Latn", "evidence": evidence, "items": [item]})
    found = contamination.benchmark_lines([tmp_path / "x.json"])
    assert [line.text for line in found] == ITEM[benchmark]["known_by"]
    assert {line[:-1] for line in found} <= {(benchmark, "eng_Latn", "test", "task/7")}


def test_a_field_that_no_row_has_is_named(tmp_path, monkeypatch):
    write_xnli(tmp_path, "de")
    changed = ROWS["xnli"] | {"evidence": "premise premise+passage"}
    monkeypatch.setattr(tables, "row", lambda table, name: changed if table == harness.TABLE else pytest.fail(table))
    with pytest.raises(UserError, match="XNLI has no field passage: correct the column evidence in resources"):
        benchmark_files.prepare("xnli", "deu_Latn", {"path": str(tmp_path), "shots": 0})


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real benchmarks in ../shared/data")
@pytest.mark.parametrize(
    ("benchmark", "archive", "below", "languages", "share"),
    [
        ("xnli", "xnli_dev", "", ["deu_Latn", "tha_Thai", "zho_Hans"], 0.9),
        ("m_arc", "m_arc", "m_arc", ["deu_Latn", "hin_Deva", "zho_Hans"], 0.97),
        ("xcopa", "xcopa", "data", ["ita_Latn", "tha_Thai", "zho_Hans"], 0.95),
        ("mgsm", "mgsm", "mgsm", ["deu_Latn", "tha_Thai", "zho_Hans"], 1),
    ],
)
def test_real_items_in_instructions_are_found_and_other_instructions_are_not(tmp_path, benchmark, archive, below, languages, share):
    import tarfile

    with tarfile.open(SHARED / f"{archive}.tar.xz") as file:
        file.extractall(tmp_path / "data", filter="data")
    for language in languages:
        prepare(tmp_path / benchmark, benchmark, [language], path=str(tmp_path / "data" / below))
    others = [
        (f"{row['instruction']}\n{row.get('input', '')}", row["output"])
        for _, content in archives.members(SHARED / "alpaca_demo.tar.xz", ["*.json"])
        for row in json.loads(content)
    ]
    assert len(others) > 1500
    planted = {}
    whole = max(ROWS[benchmark]["evidence"].split(), key=lambda entry: entry.count("+"))
    for language in languages:
        for item in files.read_json(tmp_path / benchmark / f"{language}.json")["items"][::25]:
            first, *rest = (item["doc"][field] for field in whole.split("+") if item["doc"].get(field))
            listed = "\n".join(f"{letter}) {text.upper()}" for letter, text in zip("ABCDE", rest, strict=False))
            planted[str(len(others))] = item["item"]
            others.append((f"Answer this question.\n{first}\n{listed}", "B"))
    mixture = mixture_of(languages[0], others)
    count, table = audited(mixture, tmp_path, benchmark, languages)
    assert set(table["row"]) <= set(planted)  # no other row
    found = {row for row, item in planted.items() if item in set(table.filter(pl.col("row") == row)["item"])}
    assert count == table["row"].n_unique() and len(found) >= share * len(planted)


def test_an_item_in_a_mixture_stops_the_run_before_training(tmp_path):
    """The rules themselves: the set is prepared, the mixture audited, and the gate names the set."""
    folder = workspace.copy(tmp_path / "pivotlift")
    write_xnli(tmp_path / "xnli", "de")
    sets = {"benchmarks": {"messages": None, "udhr": None, "udhr-reading": None, "general": None}}
    sets["harness"] = {"xnli": {"path": str(tmp_path / "xnli")}}
    (folder / "sets.yaml").write_text(yaml.safe_dump({"evaluate": sets, "decontamination": {"against": []}}), encoding="utf-8")
    mixture = folder / "results/mixtures/laptop.parquet"
    mixture.parent.mkdir(parents=True)
    asked = 'Premise: The de cat said "yes". Hypothesis: A cat spoke 0 times. Is it true?'
    mixture_of("deu_Latn", [("How are you?", "Well."), (asked, "It may be.")]).write_parquet(mixture)
    rules = ("--configfile", "sets.yaml", "--allowed-rules", "harness_benchmark", "audit", "gate", "--cores", "1")
    output = workspace.snakemake(folder, "results/mixtures/laptop.passed", *rules, check=False)
    assert "1 rows of the mixture hold benchmark text" in output and "xnli 1 (deu_Latn 1)" in output
    assert not (mixture.parent / "laptop.passed").exists()
    found = pl.read_csv(mixture.parent / "laptop.contaminated.csv", infer_schema=False)
    assert "xnli_de/0" in set(found["item"]) and set(found.select("row", "benchmark", "benchmark_language").rows()) == {
        ("1", "xnli", "deu_Latn")
    }


def test_what_the_harness_graded_is_scored_again_without_the_items_that_were_trained_on(tmp_path, models):
    folder = write_xnli(tmp_path / "data", "de")
    prepare(tmp_path / "benchmark", "xnli", ["deu_Latn"], path=str(folder))
    for model in models:
        ask(tmp_path, model, ["deu_Latn"], XNLI)
    (tmp_path / "mixture").mkdir()
    (tmp_path / "mixture/xnli").symlink_to(tmp_path / "benchmark")
    seen = files.read_json(tmp_path / "benchmark/deu_Latn.json")["items"][4]
    text = f"Premise: {seen['doc']['premise']} Hypothesis: {seen['doc']['hypothesis']}"
    _, table = audited(mixture_of("deu_Latn", [("Is it true?", "Who knows."), (text, "Yes.")]), tmp_path / "mixture", "xnli", ["deu_Latn"])
    lost = set(table["item"])
    assert seen["item"] in lost and len(lost) < 18 and set(table["split"]) == {"validation"}
    table.write_csv(tmp_path / "m.contaminated.csv")
    plain = scores(tmp_path, "lifted", "base", ["deu_Latn"])
    rows = scores(tmp_path, "lifted", "base", ["deu_Latn"], tmp_path / "m.contaminated.csv")
    assert rows[: len(plain)] == plain
    assert [row["metric"] for row in rows if not row["metric"].startswith("option")] == ["accuracy", "accuracy clean"]
    assert rows[-1]["n"] == 18 - len(lost)
    # The same as if these items had never been asked.
    for model in models:
        path = tmp_path / model.name / "deu_Latn.jsonl"
        files.write_jsonl(path, [line for line in files.read_jsonl(path) if line["item"] not in lost])
    alone, *_ = scores(tmp_path, "lifted", "base", ["deu_Latn"])
    assert rows[-1] == alone | {"metric": "accuracy clean"}
