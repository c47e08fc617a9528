"""Stop a run before it trains on rows that are cut too much, or that lack the marks a model must learn.

python -m workflow_scripts.models.gate --tokens tokens.csv --limits '{"max_rows_cut": 0.05, ...}' --output tokens.passed

With `--base-manifest` it also stops `--packing` on a base model whose test (`admission`) says that packed rows see each other.
"""

import argparse
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..common import cli, files, ledger, model_files

NAMED = 12  # languages that a message names of each fault, the worst first
SHARES = {
    "max_rows_cut": "rows cut",
    "max_rows_without_target": "rows with nothing to learn",
    "min_completion_kept": "tokens of answers kept",
}
MARKS = {
    "rows_turn_lost": "rows of which the chat template leaves out a turn",
    "rows_without_bos": "rows that do not begin with a BOS",
    "rows_bos_within": "rows with a BOS inside",
    "rows_without_eos": "answers without an end mark",
}


def share_of(counted: Mapping[str, float], limit: str) -> float:
    """What a limit is about, of one language."""
    if limit == "max_rows_without_target":
        return counted["rows_without_target"] / counted["rows"]
    return counted["share_rows_cut" if limit == "max_rows_cut" else "share_completion_kept"]


def listed(figures: Sequence[str]) -> str:
    return ", ".join(figures[:NAMED]) + (f" and {len(figures) - NAMED} more languages" if len(figures) > NAMED else "")


def rows_with_marks(facts: Sequence[ledger.Fact]) -> str:
    """The languages in which rows are left out for a mark of the model in their text, the most rows first."""
    counted = {fact.language: fact.value for fact in facts if fact.measure == "rows_with_marks" and fact.value}
    return listed([f"{code} {counted[code]:,}" for code in sorted(counted, key=lambda code: (-counted[code], code))])


def check(facts: Sequence[ledger.Fact], limits: Mapping[str, float]) -> int:
    """How many languages have rows; raises `UserError`, naming languages and figures, where any of them is beyond a limit."""
    counted: dict[str, dict[str, float]] = defaultdict(dict)
    for fact in facts:
        if fact.value is not None:
            counted[fact.language][fact.measure] = fact.value
    of = {code: found for code, found in counted.items() if "rows" in found}
    faults, advice, short = [], [], set()
    for limit, what in SHARES.items():
        sign = -1 if limit.startswith("min_") else 1
        shares = {code: share_of(found, limit) for code, found in of.items()}
        beyond = sorted(
            (code for code in of if sign * (shares[code] - limits[limit]) > 1e-9), key=lambda code: (-sign * shares[code], code)
        )
        if beyond:
            faults.append(f"{what}: {listed([f'{code} {shares[code]:.1%}' for code in beyond])} ({limit}: {limits[limit]:g})")
            short |= set(beyond)
    if short and (marked := rows_with_marks(facts)):
        advice.append(f"take the model's own marks out of the text, for which rows are left out ({marked})")
    if short:
        longest = max(sorted(short), key=lambda code: of[code]["tokens_per_row_p95"])
        advice.append(
            f"raise sft.max_length (95 % of the rows of {longest} have up to {of[longest]['tokens_per_row_p95']:,} tokens), name such "
            "languages in the mixture's kept_out, or change these limits under `audit`"
        )
    for measure, what in MARKS.items():
        beyond = sorted((code for code in of if of[code].get(measure)), key=lambda code: (-of[code][measure], code))
        if beyond:
            faults.append(f"{what}: {listed([f'{code} {of[code][measure]:,}' for code in beyond])}")
    if any(found.get(measure) for found in of.values() for measure in MARKS):
        advice.append(
            "give the base model a chat_template that writes every turn, one BOS before the first and an end mark behind the answer, and "
            "take out rows whose own text holds such marks"
        )
    if faults:
        raise cli.UserError(
            f"{facts[0].subject} is not trained, because its tokens fail the audit: {'; '.join(faults)}. "
            f"To mend this, {'; and '.join(advice)}."
        )
    return len(of)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=Path, required=True, help="the audit's ledger")
    parser.add_argument("--limits", type=cli.json_object, required=True, help="the config's `audit`, with defaults")
    parser.add_argument("--base-manifest", type=Path, help="manifest.json of the model whose tokenizer it will have")
    parser.add_argument("--packing", action="store_true", help="the model's sft.packing")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    if arguments.base_manifest:
        model_files.check_packing(files.read_json(arguments.base_manifest), arguments.packing)
    facts = ledger.read(arguments.tokens)
    languages = check(facts, arguments.limits)
    left_out = f"rows left out for a mark of the model in their text: {marked}\n" if (marked := rows_with_marks(facts)) else ""
    files.write_text(arguments.output, f"{languages} languages keep the limits of the audit\n{left_out}")


if __name__ == "__main__":
    cli.run(main)
