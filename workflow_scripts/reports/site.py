"""Write the report: an index, one page a language, one page a trained model beside its base, and the data behind every chart.

The pages are derived from the tables alone, need no network, and show what got worse as plainly as what got better.

By hand:

    python -m workflow_scripts.reports.site --scores results/reports/scores.parquet --ledger results/reports/ledger.csv
        --predictions-folder results/predictions --benchmarks-folder results/benchmarks
        --manifests results/models/*/manifest.json --provenance results/downloads/*.json --config results/config.json
        --training results/models/*/model/training.jsonl --output-folder results/reports
"""

import argparse
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from sacrebleu.metrics import CHRF

from ..common import cli, files, languages, ledger, tables
from ..common.cli import UserError
from . import charts, health, run, totals, verdicts
from .collect import STAGES
from .run import CLASSES, Pair, Run, name_of

TEMPLATES = Path(__file__).parent / "templates"
CHART_BUDGET = 500_000  # bytes of SVG on the index; charts beyond it stand on the model's page only
CANDIDATES = 25  # sentences a direction among which the examples are chosen
EXAMPLES = 5
CUT = 600  # characters of one answer shown
LABELLED = 3  # losses named in each panel of a scatter plot
NAMED = 12  # losses named in the summary; the table has all
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")


def number(value: Any, digits: int = 1, signed: bool = False) -> str:
    """A number for reading: thin grouping for counts, a true minus sign, a dash for nothing."""
    if value is None or value != value:
        return "–"
    text = f"{value:{'+' if signed else ''},.{0 if isinstance(value, int) else digits}f}"
    return text.replace("-", "−")


def language_tag(code: str) -> str:
    """The HTML `lang` of a FLORES code: deu_Latn is deu-Latn."""
    return code.replace("_", "-")


def shown(text: str, cut: int | None = None) -> str:
    """Foreign text for reading: cut with a sign, and what cannot be seen spelled out (controls, marks of direction, half surrogates)."""
    text = text if cut is None or len(text) <= cut else text[:cut] + "…"
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True)


def environment() -> jinja2.Environment:
    """Jinja with autoescape: model output and source text are foreign matter."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    jinja.filters |= {"number": number, "name": name_of, "tag": language_tag, "pretty": pretty, "shown": shown,
                      "p_said": verdicts.p_said, "loss": verdicts.loss_said, "mean": verdicts.mean_said}  # fmt: skip
    return jinja


def figure(chart: Any, label: str) -> Markup:
    """A drawing that may stand unescaped: made here, from names and numbers."""
    return Markup(charts.svg(chart, str(Markup.escape(label))))


def language_groups(pair: Pair, codes: Iterable[str]) -> list[tuple[str, str]]:
    """(group, name) of languages in the order of a chart: those in training by class, then those kept out."""
    order = {name: rank for rank, name in enumerate(reversed(CLASSES))}

    def group(code: str) -> tuple[bool, int, str]:
        kind = languages.get(code).resource_class
        return code not in pair.trained, order.get(kind, len(order)), kind

    rows = sorted({(group(code), name_of(code)) for code in codes})
    return [(f"{'kept out' if out else 'trained'}, {kind} resource", name) for (out, _, kind), name in rows]


def comparison_figure(report: Run, pair: Pair, benchmark: str) -> dict[str, Any] | None:
    """The main chart of one benchmark with its caption and data."""
    view, labels = report.view(pair, benchmark)
    if view.empty:
        return None
    metric = view["metric"].iloc[0]
    domain = report.benchmarks[benchmark]["domain"]
    label = f"{metric} on {benchmark} for each language and direction: {pair.base} and {pair.model}, with 95 % intervals"
    drawing = figure(charts.dumbbell(view, language_groups(pair, set(view["language"])), labels, metric), label)
    columns = ["language", "name", "class", "trained", "direction", "group", "base_value", "base_low", "base_high",
               "same_value", "value", "low", "high", "delta", "p_two_sided", "p_corrected", "verdict",
               "base_protocol"]  # fmt: skip
    return {"benchmark": benchmark, "domain": domain, "metric": metric, "svg": drawing, "labels": labels, "pair": pair,
            "data": f"data/{pair.model}-vs-{pair.base}-{benchmark}.csv", "frame": view[columns]}  # fmt: skip


def score_table(report: Run, pair: Pair, benchmark: str) -> dict[str, Any] | None:
    """Language by direction, worst mean difference first, then the means of the classes."""
    view, labels = report.view(pair, benchmark)
    if view.empty:
        return None
    groups = list(dict.fromkeys(view["group"]))
    cells = {(row.language, row.group): row for row in view.itertuples()}
    order = view.groupby("language")["delta"].mean().sort_values(kind="stable")
    rows = [
        {"code": code, "mean": mean, "trained": code in pair.trained, "class": languages.get(code).resource_class,
         "cells": [cells.get((code, group)) for group in groups]}
        for code, mean in order.items()
    ]  # fmt: skip
    means = []
    for inside in (True, False):
        part = view[view["trained"] == inside]
        for kind in [name for name in CLASSES if name in set(part["class"])] + sorted(set(part["class"]) - set(CLASSES)):
            few = part[part["class"] == kind].groupby("group")[["base_value", "value", "delta"]].mean()
            count = part[part["class"] == kind]["language"].nunique()
            means.append({"class": kind, "trained": inside, "languages": count,
                          "cells": [few.loc[group] if group in few.index else None for group in groups]})  # fmt: skip
    reasons = report.scores
    reasons = reasons[(reasons["model"] == pair.model) & (reasons["benchmark"] == benchmark) & (reasons["reason"] != "")]
    absent = {row.language: row.reason for row in reasons.itertuples() if row.language not in order.index}
    return {"benchmark": benchmark, "pair": pair, "groups": groups, "labels": labels, "rows": rows, "means": means,
            "metric": view["metric"].iloc[0], "absent": absent, **report.benchmarks[benchmark]}  # fmt: skip


def worse(report: Run, pair: Pair) -> dict[str, Any]:
    """What got worse, as the tables have it, and what their tests could not tell; the printed table says the same."""
    means = verdicts.lower_means(report.means_table, pair.model)
    return {
        "losses": verdicts.losses(report.tests, pair.model),
        "means": [row for row in means if row["verdict"] == verdicts.WORSE],
        "lower": [row for row in means if row["verdict"] != verdicts.WORSE],
        "none": verdicts.none_said(report.tests, pair.model),
        "blind": verdicts.blind_said(report.tests, pair.model),
    }


def unhealthy(report: Run) -> list[tuple[str, list[dict[str, Any]]]]:
    """Ill output by model and protocol, in words; those that are trained, or compared with, all alike."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in report.ill:
        found[f"{row['model']}, {row['protocol']}"].append(row)
    return sorted(found.items())


def too_few(report: Run) -> dict[str, dict[str, Any]]:
    """Tests that can tell nothing, by what they lack, the smallest corrected p value that they can give, and what would do."""
    found: dict[str, dict[str, Any]] = {}
    for lack, rows in report.compared[report.compared["short_of"] != ""].groupby("short_of"):
        needed = int(rows["tests"].max()) / run.significance.LEVEL  # for Holm's correction; the other needs less
        found[str(lack)] = {
            "tests": len(rows),
            "benchmarks": sorted(set(rows["benchmark"])),
            "smallest": float(rows["smallest"].min()),
            "needed": math.ceil(2 * needed) if lack == "resamples" else math.floor(math.log2(needed)) + 2,
        }
    return found


def write_table(path: Path, rows: pd.DataFrame) -> None:
    with files.whole_file(path) as part:
        rows.to_csv(part, index=False, lineterminator="\n", float_format="%.6g")


def significance_tables(report: Run, output: Path) -> None:
    """What every "significant" on the pages stands on: the test of each language, and the tests over languages."""
    write_table(output / "significance.csv", report.tests)
    write_table(output / "over_languages.csv", report.means_table)


def mixture_frame(report: Run) -> pd.DataFrame:
    """Planned and realised share (percent) of each language in each mixture, largest first."""
    shares: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for fact in report.facts:
        if fact.stage == "mixtures" and fact.measure in ("share_planned", "share_realised") and fact.value is not None:
            shares[fact.subject, fact.language][fact.measure.removeprefix("share_")] = 100 * fact.value
    rows = [{"mixture": mixture, "language": code, "name": name_of(code), **values} for (mixture, code), values in shares.items()]
    frame = pd.DataFrame(rows, columns=["mixture", "language", "name", "planned", "realised"])
    return frame.sort_values(["realised", "name"], ascending=[False, True], ignore_index=True)


def ledger_cell(facts: Sequence[ledger.Fact]) -> dict[str, Any]:
    """One cell of the ledger matrix: what came in, what was kept, the chief reasons for dropping, or why there is nothing."""
    totals: dict[str, float] = defaultdict(float)
    for fact in facts:
        if fact.value is not None:
            totals[fact.measure] += fact.value
    out = next((totals[name] for name in ("rows_kept", "rows_drawn", "rows", "items") if name in totals), None)
    # A language without a row may have counts all the same: none of its rows hold a benchmark's text.
    reasons = sorted({fact.reason for fact in facts} - {""})
    if out is None and (reasons or not totals):
        return {"reason": "; ".join(reasons) or "nothing recorded"}
    drops = {name: value for name, value in totals.items() if name.startswith(("dropped:", "contaminated:")) and value}
    chief = sorted(drops.items(), key=lambda drop: (-drop[1], drop[0]))
    return {
        "reason": "",
        "in": totals.get("rows_read"),
        "out": out,
        "first": next(iter(sorted(totals.items())), None),
        "share": 100 * totals["share_realised"] if "share_realised" in totals else None,
        "drops": [(name.replace("dropped:", "").replace("contaminated:", "in "), int(value)) for name, value in chief[:2]],
        "truncated": totals.get("rows_truncated"),
    }


def ledger_matrix(report: Run) -> dict[str, Any]:
    stages = [stage for stage in STAGES if any(fact.stage == stage for fact in report.facts)]
    rows = []
    for code in report.languages:
        cells = [ledger_cell(report.facts_of(code, stage)) for stage in stages]
        rows.append({"code": code, "cells": cells})
    return {"stages": stages, "rows": rows}


def token_table(report: Run) -> list[dict[str, Any]]:
    """What the audit counted before training, of each model and language with rows; most tokens a row first."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for fact in report.facts:
        if fact.stage == "models" and fact.value is not None:
            found[fact.subject, fact.language][fact.measure] = fact.value
    rows = [{"model": model, "code": code, **counted} for (model, code), counted in found.items() if "tokens_per_row" in counted]
    return sorted(rows, key=lambda row: (row["model"], -row["tokens_per_row"], row["code"]))


def leaks_of(report: Run) -> dict[str, int]:
    """Training rows that hold text of a benchmark, as the mixtures' audits counted them; only benchmarks with any."""
    counts: dict[str, int] = defaultdict(int)
    for fact in report.facts:
        if fact.measure.startswith("rows_contaminated:"):
            counts[fact.measure.split(":", 1)[1]] += int(fact.value or 0)
    return {benchmark: count for benchmark, count in sorted(counts.items()) if count}


def index_page(report: Run, output: Path, jinja: jinja2.Environment) -> None:
    spent, figures, data = 0, [], {}
    for pair in report.pairs:
        for benchmark in report.benchmarks:
            found = comparison_figure(report, pair, benchmark)
            if found is None:
                continue
            data[found["data"]] = found["frame"]
            spent += len(found["svg"])
            figures.append(found | {"svg": found["svg"] if spent <= CHART_BUDGET else None})
    mixture = mixture_frame(report)
    if len(mixture):
        data["data/mixtures.csv"] = mixture
    curve = pd.DataFrame(
        [{"model": model, **row} for model, rows in sorted(report.training.items()) for row in charts.thin(rows)],
        columns=["model", "step", "loss"],
    )
    if len(curve):
        data["data/training-loss.csv"] = curve
    for name, frame in data.items():
        write_table(output / name, frame)
    label = "Share of each language in the mixture: planned and realised"
    page = jinja.get_template("index.html").render(
        root="",
        run=report,
        figures=figures,
        summaries=[
            {"pair": pair, "benchmark": benchmark, "inside": inside, **report.benchmarks[benchmark],
             **report.means(pair, benchmark, inside)}
            for pair in report.pairs for benchmark in report.benchmarks for inside in (True, False)
        ],
        worse={pair: worse(report, pair) for pair in report.pairs},
        leaks=leaks_of(report),
        unhealthy=unhealthy(report),
        measures=[one for one in health.present(report.scores["metric"]) if not one.metric.startswith(("references", "option"))],
        named=NAMED,
        families=report.compared.groupby(run.FAMILY).ngroups,
        too_few=too_few(report),
        tables=[table for pair in report.pairs for name in report.benchmarks if (table := score_table(report, pair, name))],
        mixture=figure(charts.shares(mixture), label) if len(mixture) else None,
        curve=figure(charts.losses(curve), "Training loss by optimiser step") if len(curve) else None,
        matrix=ledger_matrix(report),
        token_rows=token_table(report),
        totals={stage: own for stage in totals.STAGES if (own := totals.totals(report.facts, stage))[1]},
        config=pretty(report.config),
        data=sorted(data),
    )  # fmt: skip
    files.write_text(output / "index.html", page)


def answers_of(report: Run, model: str, benchmark: str, language: str) -> dict[tuple[str, str], dict[Any, str]]:
    """Answers by direction and protocol of one model for one language."""
    path = report.predictions_folder / model / benchmark / f"{language}.jsonl"
    if not path.exists():
        raise UserError(f"{path} is missing, but its scores are there. Make it again: snakemake {path}")
    found: dict[tuple[str, str], dict[Any, str]] = defaultdict(dict)
    for row in files.read_jsonl(path):
        if "answer" in row:
            found[row["direction"], row["protocol"]][row["item"]] = row["answer"]
    return found


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` positions spread evenly over `count`, both ends included, none twice."""
    return sorted({round(step * (count - 1) / max(1, wanted - 1)) for step in range(min(wanted, count))})


def examples(report: Run, pair: Pair, benchmark: str, language: str, chrf: CHRF) -> list[dict[str, Any]]:
    """For each direction, sentences from the greatest loss to the greatest gain in sentence chrF++, both answers side by side.

    They are chosen among at most 25 sentences of the test, evenly spaced.
    """
    view, _ = report.view(pair, benchmark)
    if view.empty or report.benchmarks[benchmark]["shape"] != "flores":
        return []
    rows = view[view["language"] == language]
    if rows.empty:
        return []
    base, model = (answers_of(report, name, benchmark, language) for name in (pair.base, pair.model))
    found = []
    for row in rows.itertuples():
        source, target = row.direction.split("-")
        sources, references = (report.benchmark_texts(benchmark, code) for code in (source, target))
        shots = {"base": row.base_protocol, "model": row.protocol}
        before, after = base[row.direction, shots["base"]], model[row.direction, shots["model"]]
        items = sorted(set(before) & set(after) & set(sources) & set(references))
        if not items:
            where = f"{report.predictions_folder}/*/{benchmark}/{language}.jsonl"
            raise UserError(f"{where} hold no answer for {row.direction}, {shots['base']} and {shots['model']}, that has a score. "
                            "Delete them and run again.")  # fmt: skip
        judged = []
        for position in spread(len(items), CANDIDATES):
            item = items[position]
            low, high = (chrf.sentence_score(side[item], [references[item]]).score for side in (before, after))
            judged.append({"item": item, "source": sources[item], "reference": references[item], "base": before[item],
                           "model": after[item], "base_score": low, "model_score": high, "gain": high - low})  # fmt: skip
        judged.sort(key=lambda one: (one["gain"], one["item"]))
        found.append({"benchmark": benchmark, "group": row.group, "source": source, "target": target, "shots": shots,
                      "items": [judged[position] for position in spread(len(judged), EXAMPLES)]})  # fmt: skip
    return found


def score_rows(report: Run) -> dict[str, list[dict[str, Any]]]:
    """The rows of scores.csv by language, in reading order, with the tests' results; an empty cell is None."""
    scores = report.scores.assign(
        group=[run.group_of(*cell) for cell in zip(report.scores["language"], report.scores["direction"], strict=True)],
        benchmark_rank=report.scores["benchmark"].map({name: rank for rank, name in enumerate(report.benchmarks)}),
    )
    ranks = {group: rank for rank, group in enumerate(sorted(set(scores["group"]), key=run.group_rank))}
    scores["group_rank"] = scores["group"].map(ranks)
    scores = scores.sort_values(["benchmark_rank", "group_rank", "metric", "protocol", "model", "baseline"], kind="stable")
    keys = ["model", "benchmark", "language", "direction", "protocol", "metric", "baseline"]
    scores = scores.merge(report.compared[[*keys, "p_corrected", "verdict"]], how="left", on=keys).astype(object)
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in scores.where(scores.notna(), None).to_dict("records"):
        found[row["language"]].append(row)
    return found


def health_tables(measured: dict[tuple[str, ...], dict[str, float]]) -> list[tuple[list[health.Measure], dict[Any, Any]]]:
    """Measures and rows of two tables: what is written, and the letters of multiple choice."""
    found = []
    for letters in (False, True):
        rows = {key: values for key, values in measured.items() if any(name.startswith("option ") for name in values) == letters}
        if rows:
            found.append((health.present(name for values in rows.values() for name in values), rows))
    return found


def language_pages(report: Run, output: Path, jinja: jinja2.Environment) -> None:
    chrf = CHRF(word_order=2)
    rows_of = score_rows(report)
    template = jinja.get_template("language.html")
    corpora = tables.read("corpora")
    records = {record.get("package"): record for record in report.provenance}
    with files.whole_folder(output / "languages") as folder:
        for code in report.languages:
            rows = rows_of.get(code, [])
            scored = [row for row in rows if not row["reason"] and row["metric"] not in health.NAMES]
            measured: dict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
            for row in rows:
                if not row["reason"] and row["metric"] in health.NAMES:
                    measured[row["benchmark"], row["group"], row["model"], row["protocol"]][row["metric"]] = row["value"]
            unscored = {row["reason"] for row in rows if row["reason"] and row["metric"] not in health.NAMES}
            kept = [fact for fact in report.facts_of(code, "corpora") if fact.measure == "rows_kept" and fact.value]
            page = template.render(
                root="../",
                run=report,
                language=languages.get(code),
                code=code,
                membership=[(pair, code in pair.trained) for pair in report.pairs],
                scores=[list(part) for _, part in groupby(scored, key=lambda row: (row["benchmark"], row["group"]))],
                health=health_tables(measured),
                unmeasured=sorted({row["reason"] for row in rows if row["reason"] and row["metric"] == "in language"} - unscored),
                reasons=sorted(
                    {(row["model"], row["benchmark"], row["direction"], row["reason"]) for row in rows if row["reason"] in unscored}
                ),
                examples=[
                    part for pair in report.pairs[:1] for name in report.benchmarks for part in examples(report, pair, name, code, chrf)
                ],
                pair=report.pairs[0] if report.pairs else None,
                candidates=CANDIDATES,
                cut=CUT,
                facts={stage: report.facts_of(code, stage) for stage in STAGES},
                sources=[(fact, records.get(corpora.get(fact.subject, {}).get("package", fact.subject))) for fact in kept],
            )
            (folder / f"{code}.html").write_text(page, encoding="utf-8")


def model_pages(report: Run, output: Path, jinja: jinja2.Environment) -> None:
    template = jinja.get_template("model.html")
    with files.whole_folder(output / "models") as folder:
        for pair in report.pairs:
            figures = []
            for benchmark in report.benchmarks:
                found = comparison_figure(report, pair, benchmark)
                if found is None:
                    continue
                view, _ = report.view(pair, benchmark)
                ranks = view.groupby("group")["delta"].rank(method="first")
                few = (ranks <= LABELLED) & (view["delta"] < 0)
                points = charts.scatter(view.assign(label=view["name"].where(few, "")), found["metric"])
                figures.append(found | {"scatter": figure(points, f"{found['metric']} on {benchmark}: {pair.base} against {pair.model}")})
            page = template.render(
                root="../", run=report, pair=pair, figures=figures,
                comparisons=[list(part) for _, part in groupby(
                    (row for row in report.over_languages if row["model"] == pair.model and row["baseline"].startswith(pair.base + "/")),
                    key=lambda row: (row["benchmark"], row["metric"], row["protocol"], row["baseline"]),
                )],
                worse=worse(report, pair),
                manifests=[report.manifests[name] for name in report.ancestors(pair.model) if name in report.manifests],
            )  # fmt: skip
            (folder / pair.page).write_text(page, encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", required=True, type=Path, help="scores.parquet; gains.parquet lies beside it")
    parser.add_argument("--ledger", required=True, type=Path)
    parser.add_argument("--predictions-folder", required=True, type=Path)
    parser.add_argument("--benchmarks-folder", required=True, type=Path)
    parser.add_argument("--manifests", nargs="*", default=[], type=Path)
    parser.add_argument("--provenance", nargs="*", default=[], type=Path)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--training", nargs="*", default=[], type=Path, help="training.jsonl of the trained models")
    parser.add_argument("--output-folder", required=True, type=Path)
    args = parser.parse_args(argv)
    manifests = run.read_manifests(args.manifests)
    report = Run(
        scores=pd.read_parquet(args.scores),
        gains=pd.read_parquet(gains) if (gains := args.scores.with_name("gains.parquet")).exists() else pd.DataFrame(),
        facts=ledger.read(args.ledger),
        manifests=manifests,
        provenance=run.read_provenance(args.provenance),
        config=files.read_json(args.config),
        training=run.read_training(args.training, list(manifests)),
        predictions_folder=args.predictions_folder,
        benchmarks_folder=args.benchmarks_folder,
    )
    jinja = environment()
    jinja.globals["paired_test"] = report.paired_test
    jinja.globals["correction"] = run.significance.CORRECTIONS[report.correction]
    significance_tables(report, args.output_folder)
    language_pages(report, args.output_folder, jinja)
    model_pages(report, args.output_folder, jinja)
    index_page(report, args.output_folder, jinja)  # last: whoever finds the index finds everything it links to


if __name__ == "__main__":
    cli.run(main)
