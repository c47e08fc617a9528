"""Choosing among continuations, with a real, tiny model: what is read once changes nothing, however prompts share it."""

import random

import pytest

from tests import tiny_model
from workflow_scripts.predictions.choices import Choice, choose
from workflow_scripts.predictions.engine import Engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """The tiny model (sliding window 16), with layers and attention strong enough that all of a prompt counts."""
    engine = Engine(tiny_model.make(tmp_path_factory.mktemp("tiny") / "model"), 4)
    for name, weight in engine.model.named_parameters():
        weight.data += 3 if "post_" in name or "q_norm" in name else 0
    return engine


def asked(beginning: int, continuations: list[list[int]]) -> list[Choice]:
    """Passages with one to three questions, shorter and longer than the window, after a beginning that all share."""
    draw = random.Random(beginning)

    def tokens(count: int) -> list[int]:
        return [draw.randrange(10, 250) for _ in range(count)]

    start, made = tokens(beginning), []
    for passage, (length, questions) in enumerate([(3, 2), (30, 2), (9, 1), (50, 3), (17, 2), (24, 1), (8, 2)]):
        text = tokens(length)
        made += [Choice([*start, *text, *tokens(draw.randint(1, 25))], continuations, f"p{passage}") for _ in range(questions)]
    twin = made[3]
    return [*made, Choice(twin.prompt, continuations, "p1"), Choice(twin.prompt[:-1], continuations, "p1"), Choice([7], continuations)]


def plain(engine: Engine, choice: Choice) -> list[float]:
    """The same by one forward pass a continuation, nothing shared and nothing padded."""
    import torch

    sums = []
    for tokens in choice.continuations:
        with torch.inference_mode():
            logprobs = engine.model(torch.tensor([[*choice.prompt, *tokens]])).logits[0].log_softmax(-1)
        places = range(len(choice.prompt) - 1, len(choice.prompt) + len(tokens) - 1)
        sums.append(float(sum(logprobs[place, token] for place, token in zip(places, tokens, strict=True))))
    return sums


@pytest.mark.parametrize("batch_size", [1, 4, 32])
@pytest.mark.parametrize("beginning", [0, 1, 40])
@pytest.mark.parametrize("continuations", [[[30], [31], [32]], [[30], [31, 32], [31, 33, 34]]], ids=["tokens", "texts"])
def test_sharing_equals_one_forward_pass_each(engine: Engine, batch_size: int, beginning: int, continuations: list[list[int]]) -> None:
    engine.batch_size = batch_size
    questions = asked(beginning, continuations)
    found = dict(choose(engine, questions))
    assert sorted(found) == list(range(len(questions)))
    expected = [plain(engine, question) for question in questions]
    assert len({round(row[0], 2) for row in expected}) > 10  # the model's answer depends on the prompt
    for index, row in enumerate(expected):
        assert found[index] == pytest.approx(row, abs=2e-5)


def test_what_is_shared_is_read_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    forward = engine.forward
    monkeypatch.setattr(engine, "forward", lambda ids, mask, cache: read.append(ids.numel()) or forward(ids, mask, cache))
    engine.batch_size = 1  # so that no row is padded
    start = list(range(100, 140))
    rows = [(passage, number) for passage in range(3) for number in range(2)]
    questions = [Choice([*start, 50 + passage, *[60] * 19, 70 + number], [[1], [2]], str(passage)) for passage, number in rows]
    assert len(dict(choose(engine, questions))) == 6
    assert sum(read) == 40 + 3 * 20 + 6 * 1


def test_nothing_asked(engine: Engine) -> None:
    assert list(choose(engine, [])) == []
