"""The predictions stage with a real, tiny model: what it asks, that batching changes nothing, that nothing is asked twice."""

import itertools
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars
import pytest

from tests import tiny_model
from workflow_scripts.common import chat, files, tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.instructions import translation
from workflow_scripts.models import train
from workflow_scripts.predictions import answer, limits, processes, prompts
from workflow_scripts.predictions.engine import Engine, Request, Writer, load_tokenizer

ROOT = Path(__file__).parents[1]
HOSTILE = 'say "{text}" to {target}\\n \\ \x01\x1b[0m\u2028\t{{source}}\r\nand a second line'
ASKING = {"stop": "\n", "system": "", "template_arguments": {}, "thinking_tokens": 0}
FLORES = {
    "template": "en-labelled",
    "pivots": ["eng_Latn", "zho_Hans"],
    "directions": ["X-eng", "eng-X"],
    "shots": [0, 3],
    "limit": None,
    "max_new_tokens": 20,
    "batch_size": 4,
    "asking": ASKING,
}
LETTERS = {"limit": 5, "batch_size": 2, "max_new_tokens": 8, "asking": ASKING}


def benchmark(folder: Path, language: str, dev: int = 4, devtest: int = 5, reason: str = "", shape: str = "flores") -> None:
    items: list[dict[str, Any]] = []
    if shape == "flores":
        items += [{"split": "dev", "item": n, "text": f"{language} dev {n}"} for n in range(dev)]
        texts = [f"{language} test {n}" + " the cat sits" * (n % 4) for n in range(devtest)]
        items += [{"split": "devtest", "item": n, "text": text} for n, text in enumerate(texts)]
    else:
        for n in range(devtest):
            passage = {
                "item": f"p{n // 2}#{n}",
                "link": f"p{n // 2}",
                "question_number": str(n),
                "flores_passage": f"The mat {n // 2}.",
            }
            options = {f"mc_answer{k}": f"answer {k}" for k in range(1, 5)}
            items.append(passage | options | {"question": "Who sits?" * (n + 1), "correct_answer_num": "1"})
    data = {"benchmark": "test", "version": "1", "shape": shape, "language": language, "reason": reason}
    files.write_json(folder / f"{language}.json", data | {"items": [] if reason else items})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_model.make_talkative(tmp_path_factory.mktemp("tiny") / "model")
    files.write_json(folder.parent / "manifest.json", {"fingerprint": "f" * 64})
    return folder


@pytest.fixture(scope="module")
def lettered(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with " A" to " D" as single tokens."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("lettered") / "model"
    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModelForCausalLM.from_pretrained(model)
    tokenizer.add_tokens([f" {letter}" for letter in prompts.LETTERS])
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files.write_json(folder.parent / "manifest.json", {"fingerprint": "e" * 64})
    return folder


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "benchmark"
    for language in ("eng_Latn", "zho_Hans", "deu_Latn", "hin_Deva"):
        benchmark(folder, language)
    return folder


def command(model: Path, texts: Path, languages: list[str], settings: dict[str, Any]) -> list[str]:
    """Arguments of answer.py; output and work folders stand beside the benchmark's."""
    places = {"--model-folder": model, "--manifest": model.parent / "manifest.json", "--benchmark-folder": texts}
    places |= {"--work": texts.parent / "work", "--output-folder": texts.parent / "out"}
    arguments = ["--model", "tiny", "--benchmark", "test", "--languages", *languages, "--settings", json.dumps(settings), "--cpus", "1"]
    return arguments + [str(part) for place in places.items() for part in place]


def run(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> tuple[int, int]:
    """Run answer.py; how many it answered and reused."""
    answer.main(arguments)
    words = capsys.readouterr().err.splitlines()[-1].replace(",", "").split()
    return int(words[words.index("answered") + 1]), int(words[words.index("reused") + 1])


def alone(engine: Engine, request: Request, **options: Any) -> list[int]:
    """The tokens `model.generate` gives for one prompt without company."""
    import torch

    ids = torch.tensor([request.ids])
    options |= {"do_sample": False, "max_new_tokens": request.max_new_tokens, "pad_token_id": 0}
    out = engine.model.generate(ids, attention_mask=torch.ones_like(ids), **options)
    return out[0, len(request.ids) :].tolist()


def mixed_requests(engine: Writer) -> list[Request]:
    """Groups with a long, short or no common prefix, and of one prompt; lengths on both sides of the window (16)."""
    import random

    draw = random.Random(0)
    vocabulary = range(260, len(engine.tokenizer))

    def tokens(count: int) -> list[int]:
        return [draw.choice(vocabulary) for _ in range(count)]

    requests = []
    for group, shared in (("long", 40), ("short", 3), ("none", 0), ("equal", 12)):
        prefix = tokens(shared)
        lengths = [9, 9, 9] if group == "equal" else [1, 2, 5, 11, 17, 18, 30, 44]
        requests += [Request([2, *prefix, *tokens(length)], draw.randint(1, 30), group) for length in lengths]
    return [*requests, Request([2, *tokens(20)], 12, "single"), Request([2, *tokens(5)], 1, "one token")]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_batches_answer_as_generate_does_alone(model: Path, batch_size: int) -> None:
    engine = Engine(model, batch_size)
    requests = mixed_requests(engine)
    expected = {index: alone(engine, request) for index, request in enumerate(requests)}
    assert len({tuple(tokens[-3:]) for tokens in expected.values()}) > 10  # the model says different things
    found = dict(engine.generate(requests, stop=""))
    assert found.keys() == expected.keys()
    for index, tokens in expected.items():
        ended = tokens[-1] in engine.ends
        assert found[index].tokens == len(tokens)
        assert found[index].finish == ("stop" if ended else "length")
        assert found[index].text == engine.tokenizer.decode(tokens, skip_special_tokens=True).strip()


def test_stop_string_inside_a_token_ends_the_answer(model: Path) -> None:
    engine = Engine(model, 3)
    requests = mixed_requests(engine)
    whole = dict(engine.generate(requests, stop=""))
    for stop in ("r", "English", "ш"):
        hit = {index: text.text for index, text in whole.items() if stop in text.text}
        assert hit
        found = dict(engine.generate(requests, stop))
        for index, text in whole.items():
            assert found[index].text == text.text.split(stop)[0].strip()
            assert found[index].tokens <= text.tokens
            if index in hit:
                assert found[index].finish == "stop"


def test_stop_after_a_broken_character(model: Path) -> None:
    engine = Engine(model, 1)
    start, newline = (engine.tokenizer.convert_tokens_to_ids(piece) for piece in ("<0xE4>", "<0x0A>"))
    ended = engine._ending([start, newline], 9, "\n")
    assert ended is not None
    assert ended.finish == "stop"
    assert "\n" not in ended.text


def test_end_mark_ends_the_answer(model: Path) -> None:
    engine = Engine(model, 2)
    requests = mixed_requests(engine)[:8]
    plain = {index: alone(engine, request) for index, request in enumerate(requests)}
    engine.ends = {plain[7][0]}  # a token the model does say
    for index, got in engine.generate(requests, stop=""):
        cut = next((at for at, token in enumerate(plain[index]) if token in engine.ends), None)
        assert (got.finish, got.tokens) == (("length", len(plain[index])) if cut is None else ("stop", cut + 1))


@pytest.mark.parametrize(("beams", "batch_size", "stop"), [(4, 8, ""), (3, 32, ""), (4, 2, "r"), (2, 16, "English")])
def test_beams_answer_as_generate_does_alone(model: Path, beams: int, batch_size: int, stop: str) -> None:
    engine, plain = Engine(model, batch_size, beams), Engine(model)
    requests = mixed_requests(engine)
    found = dict(engine.generate(requests, stop))
    assert sorted(found) == list(range(len(requests)))
    greedy = 0
    for index, request in enumerate(requests):
        tokens = alone(plain, request, num_beams=beams, **({"stop_strings": [stop], "tokenizer": plain.tokenizer} if stop else {}))
        text = plain.tokenizer.decode([token for token in tokens if token not in plain.ends], skip_special_tokens=True)
        assert found[index].text == (text.split(stop)[0] if stop else text).strip()
        stopped = tokens[-1] in plain.ends or bool(stop and stop in text)
        assert (found[index].finish, found[index].tokens) == ("stop" if stopped else "length", len(tokens))
        greedy += tokens == alone(plain, request)
    assert greedy < len(requests)  # beams do find something else


def test_beams_are_in_the_key_and_greedy_is_not(model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = FLORES | {"shots": [0], "limit": 3, "max_new_tokens": 6}
    for extra, expected in (({}, (6, 0)), ({"beams": 1}, (0, 6)), ({"beams": 3}, (6, 0)), ({"beams": 2}, (6, 0)), ({"beams": 2}, (0, 6))):
        assert run(capsys, command(model, texts, ["deu_Latn"], settings | extra)) == expected


def test_rows_that_fit_follow_the_memory(model: Path) -> None:
    engine = Engine(model)
    # Two layers of one head of 16, feed-forward 64, hidden 32: float32 keys and values twice, one layer, the mask; and logits twice.
    row = 4 * (100 * (4 * 2 * 16 + 4 * 64 + 8 * 32 + 100) + 2 * engine.model.config.vocab_size)
    assert [engine.rows_that_fit(100, 2 * rows * row / 1e6) for rows in (0.5, 1.1, 4.1, 7.9, 16.1, 1000)] == [1, 1, 4, 4, 16, 32]
    question = prompts.Question(0, "d", "0-shot", [{"role": "user", "content": "The cat"}], "The cat")
    for settings in (FLORES, {"limit": 5, "asking": ASKING}):  # what only chooses has no limit of tokens
        assert answer.load(model, [("deu_Latn", question)], settings | {"batch_size": "auto"}, 1).batch_size == 32


LIMITED = """
import json, resource, sys
from pathlib import Path
from workflow_scripts.common.cli import UserError
from workflow_scripts.predictions import answer, prompts
from workflow_scripts.predictions.engine import Engine

def megabytes():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize:")) / 1024

folder, (batch, room, length) = Path(sys.argv[1]), map(int, sys.argv[2:])
asking = {"stop": "", "system": "", "template_arguments": {}, "thinking_tokens": 0}
settings = {"max_new_tokens": 4, "asking": asking, "batch_size": batch}
texts = [f"{number} " + "The cat sits on the mat. " * length for number in range(batch)]
todo = [("deu_Latn", prompts.Question(0, "d", "chat", [{"role": "user", "content": text}], kind="chat")) for text in texts]
engine = Engine(folder, batch)
engine.model.config.max_position_embeddings = 10**6
expected = dict(answer.compute(Engine(folder, 2), todo, settings, {})) if batch > 1 else {}
resource.setrlimit(resource.RLIMIT_AS, (int((megabytes() + room) * 2**20),) * 2)
try:
    found = dict(answer.compute(engine, todo, settings, {}))
except UserError as error:
    sys.exit(str(error))
print(json.dumps({"equal": found == expected, "answers": len(found), "batch": engine.batch_size}))
"""


def test_memory_that_runs_out_halves_the_batch(model: Path) -> None:
    """A real refusal of memory, on the CPU: the limit is on this one process."""
    program = [sys.executable, "-c", LIMITED, str(model)]
    done = subprocess.run([*program, "64", "15", "60"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["equal"], found["answers"]) == (True, 64) and found["batch"] < 64
    assert "memory is short: batch size now 32" in done.stderr
    none = subprocess.run([*program, "1", "12", "1000"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert none.returncode == 1 and none.stderr.splitlines()[-1].startswith("one question alone does not fit into memory")


def test_a_limit_follows_the_target_and_cuts_no_reference() -> None:
    odia = limits.measure([20, 30, 10, 2], [200, 290, 130, 60])
    assert [odia.limit(source, 64) > target for source, target in ((20, 200), (30, 290), (10, 130), (2, 60))] == [True] * 4
    assert odia.limit(2, 64) < odia.limit(500, 64) == 435, "an endless answer must end"
    english = limits.measure([200, 290, 130, 60], [20, 30, 10, 2])
    assert [english.limit(source, 64) for source in (200, 5000)] == [52, 64]


def test_letters_equal_a_plain_forward(lettered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    benchmark(tmp_path / "benchmark", "deu_Latn", shape="belebele", devtest=7)
    assert run(capsys, command(lettered, tmp_path / "benchmark", ["deu_Latn"], LETTERS)) == (5, 0)
    rows = files.read_jsonl(tmp_path / "out/deu_Latn.jsonl")
    asked = prompts.questions(tmp_path / "benchmark", "deu_Latn", LETTERS)
    engine = Engine(lettered, 1)
    letters = [engine.tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][0] for letter in prompts.LETTERS]
    assert [row["item"] for row in rows] == [question.item for question in asked if isinstance(question, prompts.Question)]
    for row, question in zip(rows, asked, strict=True):
        assert isinstance(question, prompts.Question)
        ids = torch.tensor([chat.encode_prompt(engine.tokenizer, question.messages)])
        expected = engine.model(ids).logits[0, -1].log_softmax(-1)[letters]
        assert row["logprobs"] == pytest.approx(expected.tolist(), abs=1e-5)
        assert row["answer"] == str(int(expected.argmax()) + 1)
        assert (row["direction"], row["protocol"]) == ("deu_Latn", "letters")


def test_keys_of_letters_outlive_the_other_protocols(lettered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = tmp_path / "benchmark"
    benchmark(texts, "deu_Latn", shape="belebele", devtest=7)
    assert run(capsys, command(lettered, texts, ["deu_Latn"], LETTERS)) == (5, 0)
    (asked, *_), (row, *_) = prompts.questions(texts, "deu_Latn", LETTERS), files.read_jsonl(tmp_path / "out/deu_Latn.jsonl")
    assert isinstance(asked, prompts.Question)
    before = {"engine": 1, "model": "e" * 64, "messages": asked.messages, "source": "", "choices": ["A", "B", "C", "D"]}
    assert row["key"] == files.sha256_json(before)

    settings = LETTERS | {"protocols": ["letters", "harness", "chat"], "shots": [0, 2]}
    answered, reused = run(capsys, command(lettered, texts, ["deu_Latn"], settings))
    rows = files.read_jsonl(tmp_path / "out/deu_Latn.jsonl")
    assert (answered, reused) == (len(rows) - 5, 5)
    assert [protocol for protocol, _ in itertools.groupby(row["protocol"] for row in rows)] == [
        "chat",
        "harness",
        "letters",
        "letters-2-shot",
    ]
    assert run(capsys, command(lettered, texts, ["deu_Latn"], settings)) == (0, len(rows))
    assert {frozenset(row) for row in rows if row["protocol"] == "chat"} == {
        frozenset({"item", "direction", "protocol", "key", "order", "answer", "finish", "tokens", "lines"})
    }
    assert run(capsys, command(lettered, texts, ["deu_Latn"], settings | {"max_new_tokens": 3})) == (5, len(rows) - 5)


def test_each_letter_is_right_equally_often(tmp_path: Path) -> None:
    """Of all questions, and of the first ones that a limit draws; in every protocol but the harness's, unless it is not wanted."""
    rows = [{"item": f"p{n // 2}#{n % 2}", "link": f"p{n // 2}", "flores_passage": "Text", "question": f"Which {n}?",
             "correct_answer_num": "2" if n < 30 else "4"} | {f"mc_answer{k}": f"{n} option {k}" for k in range(1, 5)}
            for n in range(40)]  # fmt: skip
    about = {"shape": "belebele", "reason": "", "benchmark": "b", "version": "1"}
    for language, items in (("deu_Latn", rows), ("swh_Latn", rows[::-1])):
        files.write_json(tmp_path / f"{language}.json", about | {"language": language, "items": items})
    settings: dict[str, Any] = {"protocols": ["letters", "harness", "chat"]}
    right = {row["item"]: f"{row['mc_answer' + row['correct_answer_num']]}" for row in rows}
    asked = {language: prompts.questions(tmp_path, language, settings) for language in ("deu_Latn", "swh_Latn")}
    questions = [row for row in asked["deu_Latn"] if isinstance(row, prompts.Question)]
    for protocol, mark in (("letters", "{}: "), ("chat", "({}) ")):
        letters = [
            letter for row in questions if row.protocol == protocol for letter in prompts.LETTERS
            if f"{mark.format(letter)}{right[row.item]}\n" in row.messages[0]["content"]
        ]  # fmt: skip
        assert [letters.count(letter) for letter in prompts.LETTERS] == [10] * 4
    for row in questions:
        own = [int(number) for number in row.order]
        assert row.order == "" if row.protocol == "harness" else own in [[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3]]
    assert {(row.item, row.order) for row in questions} == {
        (row.item, row.order) for row in asked["swh_Latn"] if isinstance(row, prompts.Question)
    }, "the same in every language, in whatever order its file is"
    few = [row for row in prompts.questions(tmp_path, "deu_Latn", settings | {"limit": 8}) if isinstance(row, prompts.Question)]
    swahili = [row for row in prompts.questions(tmp_path, "swh_Latn", settings | {"limit": 8}) if isinstance(row, prompts.Question)]
    assert {row.item for row in few} == {row.item for row in swahili} and len(few) == 24
    assert {row.item for row in few} != {row["item"] for row in rows[:8]}, "not the first of the file"
    keys = {row["item"]: row["correct_answer_num"] for row in rows}
    places = [row.order.index(keys[str(row.item)]) for row in few if row.protocol == "letters"]
    assert [places.count(place) for place in range(4)] == [2] * 4
    plain = prompts.questions(tmp_path, "deu_Latn", {"options": "as-written"})
    assert {row.order for row in plain if isinstance(row, prompts.Question)} == {""}


def test_examples_are_no_test_items(tmp_path: Path) -> None:
    benchmark(tmp_path, "deu_Latn", shape="belebele", devtest=7)  # passages p0 to p3, the last with one question
    asked = prompts.questions(tmp_path, "deu_Latn", {"shots": [0, 2, 4]})
    letters = {row.item: row for row in asked if isinstance(row, prompts.Question) and row.protocol == "letters"}
    few = {row.item: row for row in asked if isinstance(row, prompts.Question) and row.protocol == "letters-2-shot"}
    kept_out = {row.passage for row in letters.values()} - {row.passage for row in few.values()}
    assert len(letters) == 7 and len(kept_out) == 2
    assert set(few) == {item for item, row in letters.items() if row.passage not in kept_out}
    for item, row in few.items():
        text, own = row.messages[0]["content"], letters[item].messages[0]["content"]
        first = [letters[f"{passage}#{2 * int(passage[1:])}"] for passage in kept_out]
        shown = [f"{one.messages[0]['content']} {prompts.LETTERS[one.order.index('1')]}\n\n" for one in first]
        assert text.endswith(own) and len(text) == len(own) + sum(map(len, shown))
        assert all(example in text for example in shown)
    assert asked[-1] == prompts.Gap("deu_Latn", "letters-4-shot", asked[-1].reason) and "too few passages" in asked[-1].reason  # type: ignore[union-attr]


@pytest.mark.parametrize("single", [True, False], ids=["one token", "several tokens"])
@pytest.mark.parametrize("bos", [True, False])
def test_harness_scores_bare_text(
    lettered: Path, tmp_path: Path, single: bool, bos: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As lm-evaluation-harness: the tokenizer's own BOS, the text as it is published, the sum over the letter's tokens."""
    import torch
    from tokenizers.processors import TemplateProcessing

    if not single:
        monkeypatch.setattr(answer, "HARNESS_CHOICES", (" A cat", " A mat", " Die", " C"))
    folder = tmp_path / "model"
    tokenizer = load_tokenizer(lettered)
    if bos:
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    shutil.copytree(lettered, folder)
    tokenizer.save_pretrained(folder)
    files.write_json(tmp_path / "manifest.json", {"fingerprint": "d" * 64})
    benchmark(tmp_path / "benchmark", "deu_Latn", shape="belebele", devtest=6)
    data = files.read_json(tmp_path / "benchmark/deu_Latn.json")
    for row in data["items"]:
        row |= {"question": f" {row['question']} ", "mc_answer2": "answer 2 ", "flores_passage": f" {row['flores_passage']}"}
    files.write_json(tmp_path / "benchmark/deu_Latn.json", data)
    assert run(capsys, command(folder, tmp_path / "benchmark", ["deu_Latn"], LETTERS | {"protocols": ["harness"]})) == (5, 0)

    engine = Engine(folder, 1)
    assert (engine.tokenizer("x")["input_ids"][0] == 2) is bos
    items = {item["item"]: item for item in data["items"]}
    for row in files.read_jsonl(tmp_path / "out/deu_Latn.jsonl"):
        item = items[row["item"]]
        text = f"P: {item['flores_passage']}\nQ: {item['question'].strip()}\nA: answer 1\nB: answer 2 \nC: answer 3\nD: answer 4\nAnswer:"
        expected, lengths = [], set()
        for letter in answer.HARNESS_CHOICES:
            context, whole = (engine.tokenizer(part)["input_ids"] for part in (text, text + letter))
            with torch.inference_mode():
                logprobs = engine.model(torch.tensor([whole])).logits[0].log_softmax(-1)
            expected.append(sum(float(logprobs[place - 1, whole[place]]) for place in range(len(context), len(whole))))
            lengths.add(len(whole) - len(context))
        assert (lengths == {1}) is single
        assert row["logprobs"] == pytest.approx(expected, abs=2e-5)
        assert row["answer"] == str(expected.index(max(expected)) + 1)


def test_harness_cuts_the_beginning_of_what_is_too_long(lettered: Path) -> None:
    engine = Engine(lettered, 1)
    engine.model.config.max_position_embeddings = 20
    question = prompts.Question(0, "deu_Latn", "harness", [{"role": "user", "content": "The cat sits on the mat. " * 9}], kind="harness")
    (choice,) = answer.as_choices(engine, [question], ASKING)
    assert len(choice.prompt) == 20 and choice.prompt == engine.tokenizer(question.messages[0]["content"])["input_ids"][-20:]


def test_chat_gets_its_whole_length_and_no_stop(lettered: Path) -> None:
    engine = Engine(lettered, 1)
    question = prompts.Question(0, "deu_Latn", "chat", [{"role": "user", "content": "Answer:"}], kind="chat")
    settings = {"max_new_tokens": 90, "asking": ASKING | {"stop": "e"}}
    (request,) = answer.requests_of(engine, [("deu_Latn", question)], settings, {})
    assert request.max_new_tokens == 90
    engine.ends = set()
    (found,) = answer.compute(engine, [("deu_Latn", question)], settings, {})
    assert (found[1]["finish"], found[1]["tokens"]) == ("length", 90)


THINKING = (
    "{% for turn in messages %}{% if turn.role == 'assistant' %} <think> </think>{{ turn.content + eos_token }}"
    "{% else %}{{ turn.content }}{% endif %}{% endfor %}"
)


@pytest.mark.parametrize("template", [None, THINKING], ids=["plain", "thinking"])
def test_letters_are_compared_behind_what_they_share(model: Path, template: str | None) -> None:
    """This tokenizer has no token for " A": all four begin with the same one, and with such a template with several."""
    engine = Engine(model, 1)
    engine.tokenizer.chat_template = template or engine.tokenizer.chat_template
    (before, letters), prompt = (
        answer.letter_choices(engine.tokenizer, ASKING),
        chat.encode_prompt(engine.tokenizer, [{"role": "user", "content": "Answer:"}]),
    )
    written = [engine.tokenizer.decode(before + letter[:1]) for letter in letters]
    assert written == [f" <think> </think>{letter}" if template else f" {letter}" for letter in prompts.LETTERS]
    question = prompts.Question(0, "d", "letters", [{"role": "user", "content": "Answer:"}], kind="letters")
    (choice,) = answer.as_choices(engine, [question], ASKING)
    assert choice.prompt[-len(before) :] == before and choice.prompt[: len(prompt)] == prompt


def test_letters_that_cannot_be_told_apart_are_refused(model: Path) -> None:
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template = "{% for m in messages %}{{ 'x' }}{% endfor %}"
    with pytest.raises(UserError, match="writes the letters A to D alike"):
        answer.letter_choices(tokenizer, ASKING)


def test_directions_between_pivots_stand_under_the_later_one() -> None:
    names, pivots = ["X-eng", "eng-X", "X-zho", "zho-X"], ["eng_Latn", "zho_Hans"]
    assert prompts.directions("eng_Latn", names, pivots) == []
    assert prompts.directions("zho_Hans", names, pivots) == [("eng_Latn", "zho_Hans"), ("zho_Hans", "eng_Latn")]
    assert len(prompts.directions("deu_Latn", names, pivots)) == 4
    assert prompts.directions("zho_Hans", ["X-zho"], pivots) == [("eng_Latn", "zho_Hans")]
    assert prompts.directions("zho_Hans", ["zho-X"], pivots) == [("zho_Hans", "eng_Latn")]
    for wrong in ("X-fra", "eng-zho", "X", "X-eng-X"):
        with pytest.raises(UserError, match="is not a direction"):
            prompts.directions("deu_Latn", [wrong], pivots)


def test_examples_come_from_dev_only(texts: Path) -> None:
    asked = prompts.questions(texts, "deu_Latn", FLORES | {"limit": 2})
    few = [row for row in asked if isinstance(row, prompts.Question) and row.protocol == "3-shot"]
    zero = [row.item for row in asked if isinstance(row, prompts.Question) and row.protocol == "0-shot"]
    assert [row.item for row in few] == zero and len(zero) == 4
    for row in few:
        shown = [f"{language} dev {n}" for n in row.examples for language in row.direction.split("-")]
        (message,) = row.messages
        assert [message["content"].count(text) for text in shown] == [1] * 6 and message["content"].count(" dev ") == 6
        assert message["content"].count(" test ") == 1
        assert message["content"].count(row.source) == 1


def test_examples_are_never_near_twins_of_test_items(texts: Path) -> None:
    """A twin on one side is enough: who repeats it would score by that."""
    first = next(row for row in prompts.questions(texts, "deu_Latn", FLORES) if isinstance(row, prompts.Question) and row.examples)
    data = files.read_json(texts / "deu_Latn.json")
    twin = next(row for row in data["items"] if row["split"] == "dev" and row["item"] == first.examples[0])
    test = next(row for row in data["items"] if row["split"] == "devtest" and row["item"] == 4)
    twin["text"], test["text"] = "Wähle einen anderen Buchstaben und lass ihn wachsen", "Wähle einen anderen Buchstaben!"
    files.write_json(texts / "deu_Latn.json", data)
    for limit in (None, 1):
        asked = [row for row in prompts.questions(texts, "deu_Latn", FLORES | {"limit": limit}) if isinstance(row, prompts.Question)]
        assert {row.examples for row in asked} == {
            (),
            tuple(sorted({0, 1, 2, 3} - {twin["item"]}, key=lambda n: files.sha256_text(f"dev {n}"))),
        }


def test_a_limit_draws_by_hash_the_same_items_in_all_languages(texts: Path) -> None:
    for language in ("eng_Latn", "deu_Latn", "hin_Deva"):
        benchmark(texts, language, devtest=300)
    found = {
        language: [row.item for row in prompts.questions(texts, language, FLORES | {"shots": [0], "directions": ["X-eng"], "limit": 60})]
        for language in ("deu_Latn", "hin_Deva")
    }
    assert found["deu_Latn"] == found["hin_Deva"] == sorted(found["deu_Latn"]) and len(set(found["deu_Latn"])) == 60
    parts = [sum(100 * part <= item < 100 * part + 100 for item in found["deu_Latn"]) for part in range(3)]
    assert min(parts) >= 10, "the first, the second and the last hundred have their share"


def test_missing_texts_become_reasons(texts: Path) -> None:
    settings = FLORES | {"directions": ["X-eng", "X-zho"]}
    benchmark(texts, "deu_Latn", reason="n/a: not in the release")
    gaps = prompts.questions(texts, "deu_Latn", settings)
    pairs = [(f"deu_Latn-{pivot}", shots) for pivot in ("eng_Latn", "zho_Hans") for shots in ("0-shot", "3-shot")]
    assert gaps == [prompts.Gap(direction, shots, "n/a: not in the release") for direction, shots in pairs]

    benchmark(texts, "zho_Hans", reason="n/a: not in the release")
    benchmark(texts, "hin_Deva", dev=0)
    found = {(row.direction, row.protocol): row for row in prompts.questions(texts, "hin_Deva", settings)}
    assert isinstance(found["hin_Deva-eng_Latn", "0-shot"], prompts.Question)
    assert found["hin_Deva-eng_Latn", "3-shot"] == prompts.Gap("hin_Deva-eng_Latn", "3-shot", prompts.NO_EXAMPLES)
    assert found["hin_Deva-zho_Hans", "0-shot"] == prompts.Gap("hin_Deva-zho_Hans", "0-shot", "n/a: zho_Hans: not in the release")
    assert [row.direction for row in prompts.questions(texts, "eng_Latn", settings)] == ["eng_Latn", "eng_Latn"]
    with pytest.raises(UserError, match=r"swh_Latn\.json is missing"):
        prompts.questions(texts, "swh_Latn", settings)
    benchmark(texts, "ind_Latn", reason="n/a: not in it", shape="belebele")
    assert prompts.questions(texts, "ind_Latn", LETTERS) == [prompts.Gap("ind_Latn", "letters", "n/a: not in it")]


def test_reasons_need_no_model(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmark(texts, "deu_Latn", reason="n/a: not in the release")
    nowhere = texts.parent / "model"
    files.write_json(texts.parent / "manifest.json", {"fingerprint": "f" * 64})
    assert run(capsys, command(nowhere, texts, ["deu_Latn"], FLORES)) == (0, 0)
    rows = files.read_jsonl(texts.parent / "out/deu_Latn.jsonl")
    assert len(rows) == 4
    assert all(set(row) == {"direction", "protocol", "reason", "lines"} for row in rows)


def test_requests_are_asked_in_the_chat_template_and_answered_over_lines(
    model: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"split": "devtest", "item": n, "text": f"Name cat {n}.", "answer": "Tom"} for n in range(4)]
    value = {"benchmark": "test", "shape": "instructions", "language": "deu_Latn", "reason": "", "items": rows}
    files.write_json(texts / "deu_Latn.json", value)
    files.write_json(texts / "hin_Deva.json", value | {"language": "hin_Deva", "items": [], "reason": "n/a: no list"})
    settings = {"limit": 3, "max_new_tokens": 8, "batch_size": 2, "asking": ASKING, "pivots": ["eng_Latn"], "template": "en-labelled"}
    asked = prompts.questions(texts, "deu_Latn", settings)
    assert [(row.item, row.direction, row.protocol, row.kind) for row in asked if isinstance(row, prompts.Question)] == [
        (number, "deu_Latn", "0-shot", "chat") for number in prompts.drawn(range(4), 3)
    ]
    assert prompts.questions(texts, "hin_Deva", settings) == [prompts.Gap("hin_Deva", "0-shot", "n/a: no list")]
    assert run(capsys, command(model, texts, ["deu_Latn", "hin_Deva"], settings)) == (3, 0)
    engine = Engine(model)
    for row, question in zip(files.read_jsonl(texts.parent / "out/deu_Latn.jsonl"), asked, strict=True):
        assert isinstance(question, prompts.Question)
        ids = chat.encode_prompt(engine.tokenizer, question.messages)
        assert engine.tokenizer.decode(ids) == f"<bos>Name cat {row['item']}.\nAnswer:"
        ends = alone(engine, Request(ids, 8))
        whole = engine.tokenizer.decode([token for token in ends if token not in engine.ends], skip_special_tokens=True)
        assert row["answer"] == whole.strip()


@pytest.mark.parametrize("chat_template", sorted((ROOT / "resources/chat_templates").glob("*.jinja")), ids=lambda path: path.stem)
def test_prompts_are_those_of_training_with_one_bos(model: Path, texts: Path, tmp_path: Path, chat_template: Path) -> None:
    """A pair goes the way of training (instruction, mixture, rows of the trainer) and the way of evaluation, in every wording."""
    tokenizer = load_tokenizer(model)
    tokenizer.chat_template = chat_template.read_text(encoding="utf-8")
    asked, pairs = [], []
    for template in tables.read("templates"):
        questions = prompts.questions(texts, "hin_Deva", FLORES | {"template": template, "shots": [0], "limit": 2})
        asked += [question for question in questions if isinstance(question, prompts.Question)]
        for question in asked[-len(questions) :]:
            source, target = question.direction.split("-")
            pair = {"id": question.source, "corpus": "c", "licence": "CC0-1.0", "source_language": source, "target_language": target}
            made = translation.make(polars.DataFrame([pair | {"source": question.source, "target": "Die Katze"}]), "hin_Deva", [template])
            pairs.append(made.filter(source_language=source))
    polars.concat(pairs).write_parquet(tmp_path / "mixture.parquet")
    trained, _ = train.encode(tokenizer, tmp_path / "mixture.parquet", 512, "tiny")
    assert len(trained) == len(asked) == 4 * len(tables.read("templates"))
    for (ids, (length,)), question in zip(trained, asked, strict=True):
        prompt, answered = ids[:length].tolist(), ids[length:].tolist()
        assert prompt == chat.encode_prompt(tokenizer, question.messages)
        assert tokenizer.decode(prompt) == chat.prompt_text(tokenizer, question.messages)
        assert (prompt.count(tokenizer.bos_token_id), prompt[0]) == (1, tokenizer.bos_token_id)
        assert tokenizer.bos_token_id not in answered and answered[-1] == tokenizer.eos_token_id
    for question in prompts.questions(texts, "hin_Deva", FLORES):
        assert isinstance(question, prompts.Question)
        assert chat.encode_prompt(tokenizer, question.messages).count(tokenizer.bos_token_id) == 1, question.protocol


def test_only_what_is_missing_runs_again(model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command(model, texts, ["deu_Latn", "hin_Deva"], FLORES)
    out = texts.parent / "out"
    assert run(capsys, arguments) == (40, 0)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    assert set(first) == {"deu_Latn.jsonl", "hin_Deva.jsonl"}
    assert not (texts.parent / "work").exists()
    rows = files.read_jsonl(out / "deu_Latn.jsonl")
    order = [(row["direction"], row["protocol"], row["item"]) for row in rows]
    assert order == sorted(order)
    assert set(rows[0]) == {"item", "direction", "protocol", "key", "answer", "finish", "tokens", "lines"}

    (out / "hin_Deva.jsonl").unlink()
    assert run(capsys, arguments) == (20, 20)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == first

    absent = [str(texts / "gone") if argument == str(model) else argument for argument in arguments]
    assert run(capsys, absent) == (0, 40)  # nothing left: the model is not even opened

    benchmark(texts, "hin_Deva", devtest=6)
    assert run(capsys, arguments) == (0, 40)  # the pivot has no sixth sentence
    benchmark(texts, "eng_Latn", devtest=6)
    assert run(capsys, command(model, texts, ["deu_Latn", "hin_Deva"], FLORES)) == (24, 20), "limits follow German's sentences"

    for changed in ({"max_new_tokens": 5}, {"asking": ASKING | {"stop": "e"}}):
        assert run(capsys, command(model, texts, ["deu_Latn"], FLORES | {"shots": [0]} | changed)) == (10, 0)
    files.write_json(model.parent / "other.json", {"fingerprint": "0" * 64})
    other = [argument.replace("manifest.json", "other.json") for argument in arguments]
    assert run(capsys, other) == (44, 0)


def test_kill_then_resume_gives_the_same_bytes(model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language in ("eng_Latn", "deu_Latn"):
        benchmark(texts, language, devtest=12)
    settings = FLORES | {"batch_size": 2, "max_new_tokens": 24}
    arguments = command(model, texts, ["deu_Latn"], settings)
    assert run(capsys, arguments) == (48, 0)
    out = texts.parent / "out/deu_Latn.jsonl"
    whole = out.read_bytes()
    out.unlink()

    work = texts.parent / "work/deu_Latn.jsonl"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-m", "workflow_scripts.predictions.answer", *arguments]
    child = subprocess.Popen(program, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while child.poll() is None and (not work.exists() or work.read_bytes().count(b"\n") < 8):
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert not out.exists()
    done = work.read_bytes().count(b"\n")
    with work.open("ab") as file:
        file.write('{"key": "…'.encode()[:-1])  # torn within a character

    answered, reused = run(capsys, arguments)
    assert reused == done
    assert answered == 48 - done
    assert out.read_bytes() == whole
    assert not work.exists()


def test_processes_answer_as_one_does(model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes, after a run that was cut off, give the bytes of one."""
    arguments, out = command(model, texts, ["hin_Deva"], FLORES | {"max_new_tokens": 12}), texts.parent / "out"
    assert run(capsys, arguments) == (20, 0)
    whole = {path: path.read_bytes() for path in out.iterdir()}
    for path, text in whole.items():
        path.write_bytes(b"".join(text.splitlines(keepends=True)[:3]))
    assert run(capsys, [*arguments, "--cpus", "2"]) == (17, 3)
    assert {path: path.read_bytes() for path in whole} == whole


def test_processes_share_every_question_and_answer_as_one(lettered: Path, texts: Path) -> None:
    """Choosing and writing. Choices have the batches of one process, and so its last digit."""
    todo: answer.Todo = []
    for language in ("deu_Latn", "hin_Deva"):
        benchmark(texts, language, shape="belebele", devtest=9)
        for question in prompts.questions(texts, language, LETTERS | {"limit": 9, "protocols": ["letters", "harness", "chat"]}):
            assert isinstance(question, prompts.Question)
            todo.append((language, question))
    engine = Engine(lettered, 2)
    tasks = answer.tasks_of(engine, todo, LETTERS, {}, 4)
    assert sorted(place for task in tasks for place in task.places) == list(range(len(todo)))
    assert sorted(len(task.places) for task in tasks) == [4, 4, 5, 5, *[9] * 4]
    one, many = (list(answer.compute(engine, todo, LETTERS, {}, cpus)) for cpus in (1, 3))
    assert len(one) == len(many) == len(todo) and dict(one) == dict(many)


def killed(task: int) -> Iterator[int]:
    """A task that yields once, then ends its process as `task` says."""
    yield os.getpid()
    if task == 0:
        raise UserError("the disk is full.")
    if task == 1:
        raise RuntimeError
    os.kill(os.getpid(), task)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (0, r"^the disk is full\.$"),
        (1, r"^one of 2 processes that answer failed \(see above\); its answers so far are kept"),
        (signal.SIGKILL, r"^one of 2 processes that answer was killed \(signal 9\); its answers so far are kept"),
    ],
)
def test_what_ends_a_process_is_said_in_one_line(task: int, message: str) -> None:
    found = processes.share(killed, [task], 2)
    assert next(found) != os.getpid()
    with pytest.raises(UserError, match=message):
        list(found)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_first(model: Path, texts: Path, capsys: pytest.CaptureFixture[str], number: signal.Signals) -> None:
    """Ended in its middle, the first process leaves none behind, and the next run goes on from there to the bytes of one process."""
    for language in ("eng_Latn", "deu_Latn"):
        benchmark(texts, language, devtest=60)
    arguments = command(model, texts, ["deu_Latn"], FLORES | {"batch_size": 2, "max_new_tokens": 40})
    out, work = texts.parent / "out/deu_Latn.jsonl", texts.parent / "work/deu_Latn.jsonl"
    program = [sys.executable, "-m", "workflow_scripts.predictions.answer", *arguments, "--cpus", "2"]
    child = subprocess.Popen(program, cwd=ROOT, stderr=subprocess.DEVNULL)
    while child.poll() is None and (not work.exists() or work.read_bytes().count(b"\n") < 8):
        time.sleep(0.01)
    forks = [int(pid) for pid in Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()]
    assert len(forks) == 2
    child.send_signal(number)
    assert child.wait() == -number
    deadline = time.monotonic() + 10
    while alive := [pid for pid in forks if running(pid)]:
        assert time.monotonic() < deadline, f"{alive} outlived their parent"
        time.sleep(0.05)
    assert not out.exists()

    answered, reused = run(capsys, [*arguments, "--cpus", "2"])
    assert answered and reused >= 8 and answered + reused == 240
    resumed = out.read_bytes()
    out.unlink()
    assert run(capsys, arguments) == (240, 0)
    assert out.read_bytes() == resumed


def running(pid: int) -> bool:
    """Whether the process is there and no zombie that nobody has asked about."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_new_line_after_a_torn_one_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "work.jsonl"
    answer.append(path, {"key": "a", "answer": "1\u2028\n"})
    with path.open("ab") as file:
        file.write(b'{"key": "b", "ans')
    answer.append(path, {"key": "c", "answer": "3"})
    answer.append(path, {"key": "d", "answer": "4"})
    assert answer.read_answers(path) == {"a": {"answer": "1\u2028\n"}, "c": {"answer": "3"}, "d": {"answer": "4"}}


def test_hostile_text_survives(model: Path, texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for language in ("eng_Latn", "deu_Latn"):
        data = files.read_json(texts / f"{language}.json")
        for row in data["items"]:
            row["text"] = HOSTILE + str(row["item"])
        files.write_json(texts / f"{language}.json", data)
    assert run(capsys, command(model, texts, ["deu_Latn"], FLORES | {"shots": [0]})) == (10, 0)
    rows = files.read_jsonl(texts.parent / "out/deu_Latn.jsonl")
    assert len(rows) == 10
    tokenizer = Engine(model, 1).tokenizer
    for row in prompts.questions(texts, "deu_Latn", FLORES | {"shots": [0]}):
        assert isinstance(row, prompts.Question)
        assert row.source in tokenizer.decode(chat.encode_prompt(tokenizer, row.messages))
    shutil.rmtree(texts.parent / "out")
