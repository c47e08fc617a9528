"""Who knows the references scores 100 in every language; who knows nothing is never better, and is named. The way is that of a model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig
from transformers.modeling_outputs import CausalLMOutput

from benchmarks import oracle
from tests import tiny_model
from workflow_scripts.common import chat, files, languages
from workflow_scripts.predictions import answer, prompts
from workflow_scripts.predictions.engine import Engine, load_tokenizer, new_cache

DIRECTIONS = ["X-eng", "eng-X", "X-zho", "zho-X"]
CHAT = (
    "{{ bos_token }}{% for turn in messages %}{% if turn.role == 'assistant' %}<assistant>{% if loop.last and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{{ turn.content + eos_token }}{% else %}<user>{{ turn.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)  # as Qwen 3: an empty thinking block before the last answer, which the prompt does not have


def sentences(code: str, split: str, count: int) -> Iterator[dict[str, Any]]:
    """Made-up text in every script of the registry: a language's own name, in sentences of different lengths."""
    autonym = languages.get(code).autonym[:: 1 if split == "devtest" else -1]  # no dev sentence is like a test sentence
    for number in range(count):
        words = [f"{autonym}{'।,!?'[place % 4]} {'abc'[place % 3] * (number % 5)}" for place in range(1 + 3 * number % 7)]
        yield {"split": split, "item": number, "text": f"{' '.join(words)} {split[::-1] * 2} {number} « {code[number % 8 :]} »."}


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark") / "flores200"
    for code in languages.registry():
        items = [*sentences(code, "dev", 4), *sentences(code, "devtest", 4)]
        about = {"benchmark": "made-up", "version": "1", "shape": "flores", "language": code, "reason": ""}
        files.write_json(folder / f"{code}.json", about | {"items": items})
    return folder


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that knows English, a little Chinese and Russian, and takes all other scripts byte by byte."""
    return tiny_model.make_talkative(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(params=["plain", "chat"])
def model(tiny: Path, tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, str]:
    folder = oracle.model_folder(tiny, "plain" if request.param == "plain" else "", tmp_path / "made")
    if request.param == "chat":
        files.write_text(folder / "chat_template.jinja", CHAT)
    return folder, "plain" if request.param == "plain" else ""


def test_the_oracle_scores_100_in_all_languages(benchmark: Path, model: tuple[Path, str], tmp_path: Path) -> None:
    folder, template = model
    codes = list(languages.registry())
    settings = oracle.settings_for(template, [0], None, 2, ["X-eng", "eng-X"])
    rows = oracle.play(folder, benchmark, codes, settings, oracle.NULL_PLAYERS["the reference"][0], tmp_path, "oracle")
    scored = {metric: {row["direction"]: row["value"] for row in rows if row["metric"] == metric} for metric in ("chrF++", "BLEU")}
    assert {len(found) for found in scored.values()} == {2 * len(codes) - 2}
    assert {direction: value for found in scored.values() for direction, value in found.items() if value != 100} == {}
    assert not any(row["value"] for row in rows if row["metric"] in ("cut rate", "preamble rate", "wrapped rate", "more lines rate"))
    thinking = {row["value"] for row in rows if row["metric"] == "thinking rate"}
    assert thinking == ({0} if template else {100}), "the empty block that the template trains is taken off, and counted"


def test_the_oracle_scores_100_by_cleaned_references(benchmark: Path, model: tuple[Path, str], tmp_path: Path) -> None:
    """Composed letters in training text, decomposed ones in the test, as in Bengali: one form is compared."""
    codes = ["ben_Beng", "eng_Latn", "yor_Latn", "pes_Arab", "khm_Khmr"]
    marks = {
        "ben_Beng": "\u09a1\u09bc\u09df",
        "yor_Latn": "e\u0323\u0301 \u00ad\u200d",
        "pes_Arab": "\u200f\u0645\u06cc\u200c",
        "khm_Khmr": "\u200b",
    }
    for code in [*codes, "zho_Hans"]:
        data = files.read_json(benchmark / f"{code}.json")
        for item in data["items"]:
            item["text"] += marks.get(code, "")
        files.write_json(tmp_path / f"texts/{code}.json", data)
    folder, template = model
    settings = oracle.settings_for(template, [0], None, 2, DIRECTIONS)
    says = oracle.NULL_PLAYERS["the reference"][0]
    rows = oracle.play(folder, tmp_path / "texts", codes, settings, says, tmp_path, "oracle", clean=True)
    assert {row["value"] for row in rows if row["metric"] in ("chrF++", "BLEU")} == {100}
    assert all(row["signature"].endswith("|form:nfc-visible") for row in rows if row["metric"] in ("chrF++", "BLEU"))


def test_null_players_are_never_better_and_each_is_named(benchmark: Path, model: tuple[Path, str], tmp_path: Path) -> None:
    folder, template = model
    found = oracle.null_players(folder, benchmark, ["deu_Latn", "tha_Thai", "bod_Tibt", "zho_Hans"], template, 4, tmp_path)
    assert len(found) == len(oracle.NULL_PLAYERS)
    assert {player["player"]: player["better"] for player in found if player["better"]} == {}
    assert {player["player"]: player["least"] for player in found if player["measure"] and player["least"] < 50} == {}


class Knowing:
    """A network that keeps the tokens it has read in its cache and gives the next one of what it knows by heart."""

    def __init__(self, known: dict[tuple[int, ...], list[int]], vocabulary: int) -> None:
        self.vocabulary, self.config = vocabulary, PretrainedConfig()
        self.next = {(*prompt, *ids[:place]): ids[place] for prompt, ids in known.items() for place in range(len(ids))}

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return torch.nn.Embedding(self.vocabulary, 1)

    def __call__(self, input_ids: Any, attention_mask: Any, past_key_values: Any, **_: Any) -> Any:
        tokens = input_ids[:, None, :, None].float()
        kept, _ = past_key_values.update(tokens, tokens.clone(), 0)
        logits = torch.zeros(len(input_ids), 1, self.vocabulary)
        for row, (sequence, mask) in enumerate(zip(kept[:, 0, :, 0].long().tolist(), attention_mask.tolist(), strict=True)):
            read = tuple(token for token, seen in zip(sequence, mask, strict=True) if seen)
            logits[row, 0, self.next.get(read, 0)] = 1
        return CausalLMOutput(logits=logits)


def test_the_oracle_scores_100_through_the_engine(benchmark: Path, model: tuple[Path, str], tmp_path: Path) -> None:
    """Batches, shared beginnings, refills and limits are those of the engine; only the network is another."""
    folder, template = model
    codes = ["deu_Latn", "bod_Tibt", "mya_Mymr", "sat_Olck", "zho_Hans", "arb_Arab"]

    def engine(player: oracle.Player) -> Engine:
        made = Engine.__new__(Engine)
        made.tokenizer, made.ends, made.device, made.batch_size, made.beams = player.tokenizer, player.ends, "cpu", 5, 1
        made.one_by_one = False
        made.model = Knowing(player.written, len(player.tokenizer))
        return made

    settings = oracle.settings_for(template, [0, 3], None, 2, DIRECTIONS) | {"batch_size": 5}
    says = oracle.NULL_PLAYERS["the reference"][0]
    rows = oracle.play(folder, benchmark, codes, settings, says, tmp_path, "engine", player=engine)
    assert {row["value"] for row in rows if row["metric"] in ("chrF++", "BLEU")} == {100}
    assert len({(row["direction"], row["protocol"]) for row in rows}) == 2 * (4 * len(codes) - 2)


def test_a_model_is_asked_as_it_was_trained(tiny: Path, tmp_path: Path) -> None:
    """A system turn and arguments of the template are the same bytes in both, also with a thinking block."""
    folder = oracle.model_folder(tiny, "", tmp_path)
    files.write_text(
        folder / "chat_template.jinja",
        CHAT.replace("<assistant>{% endif %}", "<assistant>{{ '' if enable_thinking else '<think>\n\n</think>\n\n' }}{% endif %}"),
    )
    tokenizer = load_tokenizer(folder)
    turns = [{"role": "user", "content": "The cat"}, {"role": "assistant", "content": "Die Katze"}]
    for asking in ({}, {"system": "Translate."}, {"template_arguments": {"enable_thinking": True}}):
        prompt, learnt = chat.encode_example(tokenizer, turns, asking)
        assert prompt == chat.encode_prompt(tokenizer, turns[:1], asking)
        assert tokenizer.decode(learnt) == "Die Katze<eos>"
        assert ("Translate." in tokenizer.decode(prompt)) == ("system" in asking)
    question = prompts.Question(0, "d", "chat", turns[:1], kind="chat")
    plain = {"stop": "", "system": "", "template_arguments": {}, "thinking_tokens": 0}
    settings = {"max_new_tokens": 8, "asking": plain}
    keys = {
        answer.content_key("f", question, settings | {"asking": plain | changed})
        for changed in ({}, {"system": "Translate."}, {"template_arguments": {"enable_thinking": True}}, {"thinking_tokens": 9})
    }
    assert len(keys) == 4


def test_the_cache_of_the_engine_holds_what_the_network_wrote() -> None:
    """`Knowing` reads its own tokens back, so a cache that moved or lost a position would show in every test above."""
    cache, network = new_cache([]), Knowing({(7, 8): [9, 1]}, 12)
    first = network(torch.tensor([[0, 7, 8]]), torch.tensor([[0, 1, 1]]), cache).logits.argmax(-1)
    assert (first.item(), network(torch.tensor([[9]]), torch.tensor([[0, 1, 1, 1]]), cache).logits.argmax(-1).item()) == (9, 1)
