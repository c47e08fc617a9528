"""From messages to tokens: which of a conversation are learnt, by the chat templates of real models."""

from collections.abc import Callable
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import transformers
import trl

from tests import tiny_model, workspace
from workflow_scripts.common import chat, cli, prompts, tables

REAL = Path(trl.__file__).parent / "chat_templates"
PLAIN = (workspace.ROOT / "resources/chat_templates/plain.jinja").read_text(encoding="utf-8")
TURNS = ("The cat.", "Die Katze.", "  The mat?\n", "Die Matte\nsitzt.", "中文", "猫")
CONVERSATION = [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(TURNS)]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    folder = tiny_model.make(tmp_path_factory.mktemp("base") / "model")

    def loaded(template: str) -> Any:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template
        return tokenizer

    return loaded


def joined(parts: list[list[int]]) -> list[int]:
    return list(chain(*parts))


def encoded(tokenizer: Any, turns: chat.Messages, answers: str = "all") -> list[list[int]]:
    return chat.encode_examples(tokenizer, chat.example_texts(tokenizer, [turns], answers))[0]


@pytest.mark.parametrize("name", ["cohere2", "gemma", "gemma3", "lfm2", "llama3", "qwen2_5", "qwen3_instruct_2507"])
def test_all_answers_are_learnt_by_templates_of_real_models(load: Callable[[str], Any], name: str) -> None:
    """The answers' tokens are those that TRL's own copy of the template marks, but for a line break that some count otherwise."""
    tokenizer = load((REAL / f"{name}.jinja").read_text(encoding="utf-8"))
    parts = encoded(tokenizer, CONVERSATION)
    assert joined(parts[:-1]) == chat.encode_prompt(tokenizer, CONVERSATION[:-1])
    assert [joined(parts[:-1]), parts[-1]] == encoded(tokenizer, CONVERSATION, "last")
    for place in (1, 3):
        earlier = encoded(tokenizer, CONVERSATION[: place + 1])
        assert joined(earlier[:-1]) == joined(parts[:place]) and earlier[-1] == parts[place]
    marked = load((REAL / f"{name}_training.jinja").read_text(encoding="utf-8"))
    row = marked.apply_chat_template(CONVERSATION, return_dict=True, return_assistant_tokens_mask=True)
    assert row["input_ids"] == joined(parts)
    learnt = [number % 2 for number, part in enumerate(parts) for _ in part]
    others = [token for token, ours, theirs in zip(row["input_ids"], learnt, row["assistant_masks"], strict=True) if ours != theirs]
    assert not tokenizer.decode(others).strip() and len(others) <= 3 < sum(learnt)


@pytest.mark.parametrize("name", ["qwen3", "phi3", "gptoss"])
def test_where_earlier_answers_are_written_otherwise_one_message_says_so(load: Callable[[str], Any], name: str) -> None:
    tokenizer = load((REAL / f"{name}.jinja").read_text(encoding="utf-8"))
    with pytest.raises(cli.UserError, match=r"writes earlier answers of a conversation otherwise .* set sft.answers to last, or"):
        encoded(tokenizer, CONVERSATION)
    prompt, _ = encoded(tokenizer, CONVERSATION, "last")
    assert prompt == chat.encode_prompt(tokenizer, CONVERSATION[:-1])
    assert encoded(tokenizer, CONVERSATION[:2]) == encoded(tokenizer, CONVERSATION[:2], "last")


def test_rows_of_different_lengths_are_each_encoded_as_alone(load: Callable[[str], Any]) -> None:
    tokenizer = load(PLAIN)
    rows = [CONVERSATION[:2], CONVERSATION, [{"role": "system", "content": "Translate."}, *CONVERSATION[:4]], CONVERSATION[:2]]
    together = chat.encode_examples(tokenizer, chat.example_texts(tokenizer, rows))
    assert together == [encoded(tokenizer, turns) for turns in rows]
    assert [len(parts) for parts in together] == [2, 6, 4, 2]
    # The tiny tokenizer has ": Di" as one token, but an answer begins with a token of its own.
    assert [tokenizer.decode(part) for part in together[2][1::2]] == [" Die Katze.<eos>", " Die Matte\nsitzt.<eos>"]
    with pytest.raises(cli.UserError, match="does not end with an answer"):
        encoded(tokenizer, CONVERSATION[:3])


@pytest.mark.parametrize("trim", [False, True])
def test_an_earlier_answer_is_learnt_from_its_first_character_on(trim: bool) -> None:
    """Of single bytes and merges over them, as Llama 3 and Qwen have them; trimmed offsets leave out a token's spaces.

    Where the tokenizer would merge an answer's beginning with the prompt, both are tokenised on their own, as when the model answers. At
    an answer's end a token belongs to the part in which it begins.
    """
    marks = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.post_processor = tokenizers.processors.ByteLevel(trim_offsets=trim)
    made.decoder = tokenizers.decoders.ByteLevel()
    text = ["Die Katze. A: Die Katze.\n\n\n", "A: 猫  Die Katze"] * 9
    made.train_from_iterator(text, tokenizers.trainers.BpeTrainer(vocab_size=400, initial_alphabet=sorted(marks), show_progress=False))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=made)
    tokenizer.chat_template = (
        "{% for turn in messages %}{{ 'A: ' + turn.content + '\n' if turn.role == 'assistant' else turn.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'A: ' }}{% endif %}"
    )
    for answer in ("Die Katze.", "\n\nDie Katze.\n", "猫", "  Die", "é"):
        turns = [*CONVERSATION[:1], {"role": "assistant", "content": answer}, {"role": "user", "content": "\n猫"}, *CONVERSATION[3:4]]
        texts, parts = chat.example_texts(tokenizer, [turns])[0], encoded(tokenizer, turns)
        assert "".join(map(tokenizer.decode, parts[:-1])) == tokenizer.decode(chat.encode_prompt(tokenizer, turns[:-1]))
        assert parts[0] == chat.encode_prompt(tokenizer, turns[:1])
        seams = [len("".join(texts[:place]).encode()) for place in range(1, 3)]
        sizes = [len(tokenizer.convert_ids_to_tokens(token)) for token in joined(parts[:-1])]  # a character of a token is a byte
        begins = [0, *accumulate(sizes)][:-1]
        assert seams[0] in begins, "no token crosses the seam"
        assert [len(part) for part in parts[:3]] == [
            sum(begin < seams[0] for begin in begins),
            sum(seams[0] <= begin < seams[1] for begin in begins),
            sum(seams[1] <= begin for begin in begins),
        ]
    assert tokenizer.tokenize("A: Die") == ["A", ":", "ĠDie"], "no token crosses the seam"


def written(tokenizer: Any, *turns: str, system: str = "") -> str:
    roles = [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    return chat.prompt_text(tokenizer, ([{"role": "system", "content": system}] if system else []) + roles)


def test_plain_marks_where_an_answer_begins_but_where_the_request_ends_in_a_label(load: Callable[[str], Any]) -> None:
    tokenizer = load(PLAIN)
    for template in tables.read("templates"):
        asked = prompts.request(template, "fra_Latn", "zho_Hans", "Le chat.", ["chat"])
        label = "" if asked[-1] in ":：" else "\nAnswer:"  # en-10 ends in "[Chinese (Simplified)]"
        assert written(tokenizer, asked) == f"<bos>{asked}{label}"
    for labelled in ("P: A cat.\nAnswer:", "Answer: \n", "译文： ", "Traduction :"):
        assert written(tokenizer, labelled) == f"<bos>{labelled}"
    for bare in ("Name a cat.", "12:30", "Name: a cat", "(a) one: (b)", "猫是什么？", " ", ""):
        assert written(tokenizer, bare) == f"<bos>{bare}\nAnswer:"
    assert written(tokenizer, "One.", "1", "Two:", "2", "Three.", system="Count.") == (
        "<bos>Count.\nOne.\nAnswer: 1<eos>\nTwo: 2<eos>\nThree.\nAnswer:"
    )


@pytest.mark.parametrize("turns", [2, 4, 6])
def test_what_is_asked_begins_the_row_that_is_trained_on(load: Callable[[str], Any], turns: int) -> None:
    tokenizer = load(PLAIN)
    for last in ("Name a cat.", "Translate.\nGerman:"):
        row = [*CONVERSATION[: turns - 2], {"role": "user", "content": last}, {"role": "assistant", "content": "Katze"}]
        prompt, answer = chat.encode_example(tokenizer, row)
        assert prompt == chat.encode_prompt(tokenizer, row[:-1])
        # Where all answers are learnt, earlier ones begin with a token of their own, as when the model wrote them.
        assert tokenizer.decode(joined(encoded(tokenizer, row)[:-1])) == tokenizer.decode(prompt)
        text = tokenizer.apply_chat_template(row, tokenize=False)
        assert text == tokenizer.decode(prompt) + tokenizer.decode(answer) and text.startswith(chat.prompt_text(tokenizer, row[:-1]))
        assert tokenizer.decode(answer) == " Katze<eos>"
