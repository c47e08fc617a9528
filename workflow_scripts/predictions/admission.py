"""The test by which a given model is admitted: how it can be answered with, and whether rows of training may be packed.

    python -m workflow_scripts.predictions.admission --model-folder FOLDER --output FILE.json

In float32, on CPUs. Of a model with more than MOST_WEIGHTS weights only the first layers are loaded, so many that each kind of layer is
there; embedding and head are the model's own. Windows of attention are made so short that the test's prompts are longer. Held against one
plain forward pass of each prompt, without cache, padding or company:

    the beginning of a prompt    must not depend on what follows: else this is no causal language model, and it is refused
    answers in a batch           greedy, prompts of several lengths that come and go, and the log-probabilities of choices
    answers one by one           by `generate`, only where the batch differs or fails; where this does so, too, the model is refused
    two rows packed into one     with positions that start again, as TRL packs them: each must be as it is alone

Written is {"answers": "batched" or "one by one", "packing": true or false, "layers": "tested of all", "reason": why not batched, if so}.
"""

import argparse
import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import causal, chat, cli, files, first_calls
from ..common.cli import UserError
from . import choices
from .engine import Engine, Request

if TYPE_CHECKING:
    from torch import Tensor

MOST_WEIGHTS = 500_000_000  # of a model that is tested whole: 2 GB in float32
LEAST_LAYERS = 2
WINDOW = 16  # tokens of a sliding window or a chunk of attention in the test
TOLERANCE = 1e-3  # of the standard deviation of a position's logits; the order of float32 sums moves them by a hundredth of that
LIMITS = (12, 5, 9, 12, 3, 12)  # new tokens of the prompts, so that places in the batch get free at different times
TEXTS = (
    "The cat sits on the mat.",
    "Water boils at a hundred degrees, and the train leaves at noon.",
    "All human beings are born free and equal in dignity and rights. They are endowed with reason and conscience.",
    "No.",
    "She reads a long book in the evening, then writes a letter to her brother, who lives in a small house far away.",
    "我们早上喝茶。",
)


class Tested(Engine):
    """An engine whose answers are tokens, written as numbers, and do not end before their limit."""

    def __init__(self, folder: Path, config: Any) -> None:
        super().__init__(folder, batch_size=3, config=config)
        self.ends = frozenset()

    def _text(self, ids: list[int]) -> str:
        return " ".join(map(str, ids))

    _raw = _text  # so that a mark of a thinking block is a token like any other

    def logits(self, ids: list[int], **more: Any) -> "Tensor":
        """Logits [tokens, vocabulary] by one forward pass, nothing else."""
        import torch

        with torch.inference_mode():
            return self.model(torch.tensor([ids]), use_cache=False, **more).logits[0].float()


def layers_of(model: Any) -> list[Any]:
    """The layers of a model's text part; empty where they cannot be told."""
    import torch

    count = model.config.get_text_config().num_hidden_layers
    found = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == count]
    return max((list(module) for module in found), key=lambda layers: sum(p.numel() for p in layers[0].parameters()), default=[])


def enough_layers(model: Any) -> tuple[int, list[str]]:
    """How many of the first layers show every kind of layer, and what config's `layer_types` are to say of them ([] if it has none).

    Layers are of one kind by the shapes of their weights and by `layer_types`. Where only the latter tells them apart (a sliding window),
    two layers can play both.
    """
    layers = layers_of(model)
    shapes = [tuple((name, tuple(weight.shape)) for name, weight in layer.named_parameters()) for layer in layers]
    labels = list(getattr(model.config.get_text_config(), "layer_types", None) or [])
    if len(labels) != len(layers):
        labels = []
    if labels and len(set(shapes)) == 1:
        distinct = list(dict.fromkeys(labels))
        count = min(len(layers), max(LEAST_LAYERS, len(distinct)))
        return count, (distinct + labels)[:count]
    kinds = list(zip(shapes, labels or shapes, strict=True))
    last = max((kinds.index(kind) for kind in set(kinds)), default=len(layers) - 1)
    count = min(len(layers), max(LEAST_LAYERS, last + 1))
    return count, labels[:count]


def shortened(config: Any, count: int, labels: list[str]) -> Any:
    """A config of the first `count` layers. Lists and strings with an entry a layer are cut, towers beside the text are one layer high."""
    short = copy.deepcopy(config)
    text = short.get_text_config()
    total = text.num_hidden_layers
    for name, value in list(vars(text).items()):
        if isinstance(value, list | tuple | str) and len(value) == total > count:
            setattr(text, name, value[:count])
    text.num_hidden_layers = count
    if labels:
        text.layer_types = labels
    if count < total and getattr(text, "num_kv_shared_layers", 0):
        text.num_kv_shared_layers = 0
    for part in vars(short).values():
        if part is not text and hasattr(part, "num_hidden_layers"):
            part.num_hidden_layers = 1
    return short


def narrowed(config: Any) -> Any:
    """The config with attention to the last WINDOW tokens wherever there is a window."""
    text = config.get_text_config()
    for name in ("sliding_window", "attention_chunk_size"):
        if isinstance(value := getattr(text, name, None), int) and value > WINDOW:
            setattr(text, name, WINDOW)
    return config


def engine_of(folder: Path) -> tuple[Tested, str]:
    """The model to test, and how many of its layers it has: "4 of 32"."""
    whole, _ = causal.outline(folder)
    total = whole.config.get_text_config().num_hidden_layers
    if sum(weight.numel() for weight in whole.parameters()) <= MOST_WEIGHTS:
        return Tested(folder, narrowed(copy.deepcopy(whole.config))), f"{total} of {total}"
    count, labels = enough_layers(whole)
    return Tested(folder, narrowed(shortened(whole.config, count, labels))), f"{count} of {total}"


def requests_of(engine: Tested) -> list[Request]:
    """Prompts of several lengths in two groups: as the chat template writes them, and bare text."""
    rows = [chat.encode_prompt(engine.tokenizer, [{"role": "user", "content": text}]) for text in TEXTS[:4]]
    rows += [engine.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS[4:]]
    room = engine.positions
    rows = [row[-(room - max(LIMITS)) :] if room and room > max(LIMITS) else row for row in rows]
    rows = [row or [engine.tokenizer.eos_token_id] for row in rows]
    groups = ["template"] * 4 + ["bare"] * 2
    return [Request(row, limit, group) for row, limit, group in zip(rows, LIMITS, groups, strict=True)]


def allowed(logits: "Tensor") -> "Tensor":
    """How far logits [..., vocabulary] of the same tokens may lie apart: [...]."""
    return TOLERANCE * logits.std(dim=-1)


def same(found: "Tensor", expected: "Tensor") -> bool:
    """Whether two tensors of logits [tokens, vocabulary] are equal but for the order of sums."""
    return bool(((found - expected).abs().amax(dim=-1) <= allowed(expected)).all())


def differences(engine: Tested, requests: list[Request]) -> Iterator[str]:
    """What is wrong with the answers of `engine`, as it answers now; nothing if they are those of plain forward passes."""
    for index, answer in engine.generate(requests, stop=""):
        prompt, tokens = requests[index].ids, [int(token) for token in answer.text.split()]
        logits = engine.logits([*prompt, *tokens[:-1]])[len(prompt) - 1 :]
        said = logits[range(len(tokens)), tokens]
        if len(tokens) != requests[index].max_new_tokens or not bool((logits.amax(dim=-1) - said <= allowed(logits)).all()):
            yield "other answers than alone"
    continuations = [[token] for token in sorted(set(requests[0].ids))[:4]]
    asked = [choices.Choice(request.ids, continuations, request.group) for request in requests]
    for index, logprobs in choices.choose(engine, asked):
        logits = engine.logits(requests[index].ids)[-1]
        expected = logits.log_softmax(dim=-1)
        if any(
            abs(found - float(expected[token])) > float(allowed(logits)) for found, (token,) in zip(logprobs, continuations, strict=True)
        ):
            yield "other probabilities of choices than alone"


def fault(engine: Tested, requests: list[Request]) -> str:
    """The first of `differences`, or the error that ends the answering; "" if there is none."""
    try:
        return next(differences(engine, requests), "")
    except MemoryError:
        raise
    except Exception as error:  # whatever an architecture stumbles over
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def packs(engine: Tested, requests: list[Request]) -> bool:
    """Whether two rows in one, with positions that start again, do not see each other."""
    import torch

    first, second = requests[2].ids, requests[1].ids
    places = torch.tensor([[*range(len(first)), *range(len(second))]])
    try:
        packed = engine.logits([*first, *second], position_ids=places)
    except (TypeError, ValueError, RuntimeError, IndexError):
        return False
    return same(packed[: len(first)], engine.logits(first)) and same(packed[len(first) :], engine.logits(second))


def check_causal(folder: Path, engine: Tested, requests: list[Request]) -> None:
    """Raise `UserError` for a model whose logits are not finite, or in which a token sees those after it."""
    longest = max((request.ids for request in requests), key=len)
    logits, half = engine.logits(longest), max(1, len(longest) // 2)
    if not logits.isfinite().all():
        raise UserError(f"{folder} gives logits that are not finite: its weights are broken. Fetch it again, or correct config.json.")
    if not same(logits[:half], engine.logits(longest[:half])):
        raise UserError(
            f"{folder} ({type(engine.model).__name__}) reads text in both directions: what follows a token changes what it says of it. "
            "Only causal language models can write answers: choose one."
        )


def examine(folder: Path) -> dict[str, Any]:
    """What the test says of the model in `folder`, as the module's docstring has it. Raises `UserError` for one that is refused."""
    first_calls.settle()
    engine, layers = engine_of(folder)
    requests = requests_of(engine)
    check_causal(folder, engine, requests)
    found = {"answers": "batched", "layers": layers, "packing": packs(engine, requests)}
    if reason := fault(engine, requests):
        engine.one_by_one = True
        if worse := fault(engine, requests):
            raise UserError(
                f"{folder} ({type(engine.model).__name__}) cannot be answered with: in a batch {reason}; one by one {worse}. "
                "transformers does not run this model rightly on this machine: choose another, or another version."
            )
        found |= {"answers": "one by one", "reason": reason}
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model-folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args(argv)
    found = examine(args.model_folder)
    files.write_json(args.output, found)
    how = f"answered {found['answers']}" + (f" (in a batch {found['reason']})" if "reason" in found else "")
    print(f"admitted by {found['layers']} layers: {how}; packing {'works' if found['packing'] else 'does not'}", file=sys.stderr)


if __name__ == "__main__":
    cli.run(main)
