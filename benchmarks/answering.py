"""How fast answers come, against what one would use instead: `generate` of transformers in length-sorted batches.

    python benchmarks/answering.py [--model results/models/gemma-3-270m-trimmed/model] [--batch-sizes 8 16 32]

Same model, same prompts (message test of a finished laptop run: German, Hindi, Swahili, both directions with English, 0- and 3-shot),
one thread each, one after the other in the same process. Prints new tokens a second, the ratio, and how many answers differ. The plain
loop gets the largest token limit of its batch; answers are compared up to each item's own limit.
"""

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.common import chat  # noqa: E402
from workflow_scripts.predictions import engine, prompts  # noqa: E402

SETTINGS = {"template": "en-labelled", "pivots": ["eng_Latn", "zho_Hans"], "directions": ["X-eng", "eng-X"], "shots": [0, 3], "limit": 16}
LIMIT = 48


def requests(answering: engine.Engine) -> list[engine.Request]:
    """Prompts of the message test as token ids, with their limits."""
    made = []
    for language in ("deu_Latn", "hin_Deva", "swh_Latn"):
        for question in prompts.questions(ROOT / "results/benchmarks/messages", language, SETTINGS):
            assert isinstance(question, prompts.Question)
            ids = chat.encode_prompt(answering.tokenizer, question.messages)
            source = len(answering.tokenizer(question.source, add_special_tokens=False)["input_ids"])
            made.append(engine.Request(ids, engine.token_limit(source, LIMIT), f"{question.direction} {question.protocol}"))
    return made


def plain(answering: engine.Engine, asked: list[engine.Request], size: int) -> tuple[list[str], int]:
    """Answers by `model.generate`, sorted by length, left-padded, and the number of new tokens they hold."""
    import torch

    tokenizer, model = answering.tokenizer, answering.model
    newline = [piece for text, piece in tokenizer.get_vocab().items() if "\n" in tokenizer.convert_tokens_to_string([text])]
    ends = [*answering.ends, *newline]
    answers, tokens = [""] * len(asked), 0
    order = sorted(range(len(asked)), key=lambda index: len(asked[index].ids))
    for start in range(0, len(order), size):
        chunk = order[start : start + size]
        width = max(len(asked[index].ids) for index in chunk)
        ids = torch.tensor([[0] * (width - len(asked[index].ids)) + asked[index].ids for index in chunk])
        mask = torch.tensor([[0] * (width - len(asked[index].ids)) + [1] * len(asked[index].ids) for index in chunk])
        limit = max(asked[index].max_new_tokens for index in chunk)
        made = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=limit, do_sample=False, eos_token_id=ends, pad_token_id=0)[
            :, width:
        ].tolist()
        for index, row in zip(chunk, made, strict=True):
            row = row[: asked[index].max_new_tokens]
            end = next((place for place, token in enumerate(row) if token in ends), None)
            tokens += len(row) if end is None else end + 1
            answers[index] = tokenizer.decode(row[:end], skip_special_tokens=True).split("\n")[0].strip()
    return answers, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "results/models/gemma-3-270m-trimmed/model")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 32])
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    answering = engine.Engine(arguments.model, 32)
    asked = requests(answering)
    start = time.perf_counter()
    found = dict(answering.generate(asked, "\n"))
    ours = sum(answer.tokens for answer in found.values()) / (time.perf_counter() - start)
    print(f"{len(asked)} prompts\nengine, batch 32      {ours:6.1f} new tokens/s")
    for size in arguments.batch_sizes:
        start = time.perf_counter()
        answers, tokens = plain(answering, asked, size)
        speed = tokens / (time.perf_counter() - start)
        differing = sum(found[index].text != answer for index, answer in enumerate(answers))
        print(f"generate, batch {size:<4}  {speed:6.1f} new tokens/s, engine {ours / speed:.2f} times as fast, {differing} answers differ")


if __name__ == "__main__":
    main()
