"""Everything a report is derived from, read once: scores, ledger, manifests, configuration, benchmarks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..common import files, languages, ledger
from ..common.cli import UserError
from . import health, significance
from .verdicts import BETTER, UNCLEAR, WORSE, gain

WRITTEN = ("flores", "instructions")  # shapes of benchmarks whose answers are compared with a reference
PRIMARY = ("chrF++", "accuracy")  # the metric a benchmark is judged by; the others stand in the tables and the language pages
FAMILY = ["model", "baseline", "benchmark", "protocol", "metric", "group"]  # tests that differ in the language alone
VERDICTS = {"better": BETTER, "unclear": UNCLEAR, "worse": WORSE}
VIEWS = ("gains", "balanced", "calibrated")  # ways in which scores count the gains of a passage
TRAINED, KEPT_OUT, ALL = "trained", "kept out", "all directions"
CLASSES = ("low", "mid", "high")
TESTED = ["model", "benchmark", "language", "direction", "protocol", "metric", "baseline"]  # what names one paired test
TESTS = [
    "model", "baseline", "benchmark", "version", "language", "languages", "direction", "protocol", "metric", "n", "value", "delta",
    "p_value", "p_two_sided", "tests", "correction", "p_corrected", "smallest", "verdict",
]  # fmt: skip
OVER_LANGUAGES = [
    "model", "baseline", "benchmark", "protocol", "metric", "languages", "direction", "n", "base_value", "value", "delta", "low", "high",
    "p_value", "test", "verdict", *VERDICTS, "reason",
]  # fmt: skip


def name_of(code: str) -> str:
    return languages.get(code).name


def group_of(language: str, direction: str) -> str:
    """Where a score stands among the directions of its language: "X → English", "English → X", or "questions"."""
    source, _, target = direction.partition("-")
    if not target:
        return "questions"
    pivot = name_of(target if source == language else source).split(" (")[0]  # "Chinese (Simplified)" is Chinese here
    return f"X → {pivot}" if source == language else f"{pivot} → X"


def group_rank(group: str) -> tuple[bool, str, bool]:
    """Sort key of directions: English before other pivots, into a pivot before out of it."""
    pivot = group.replace("X → ", "").replace(" → X", "")
    return pivot != "English", pivot, not group.startswith("X → ")


@dataclass(frozen=True)
class Pair:
    """A trained model beside the base it is compared with."""

    model: str
    base: str
    trained: frozenset[str]  # languages with rows in its mixture, or in a mixture its base was trained on

    @property
    def page(self) -> str:
        return f"{self.model}-vs-{self.base}.html"


@dataclass
class Run:
    """One run of the workflow, as its files tell it."""

    scores: pd.DataFrame
    facts: list[ledger.Fact]
    manifests: dict[str, dict[str, Any]]
    provenance: list[dict[str, Any]]
    config: dict[str, Any]
    training: dict[str, list[dict[str, Any]]]
    predictions_folder: Path
    benchmarks_folder: Path
    texts: dict[tuple[str, str], dict[Any, str]] = field(default_factory=dict)
    gains: pd.DataFrame = field(default_factory=pd.DataFrame)  # of reading tests, by passage; see `collect.GAINS`
    views: dict[tuple[Pair, str], tuple[pd.DataFrame, dict[str, str]]] = field(default_factory=dict)

    @cached_property
    def languages(self) -> list[str]:
        """The languages of the run, in the order of the config."""
        return list(self.config.get("languages") or sorted({fact.language for fact in self.facts}))

    @cached_property
    def benchmarks(self) -> dict[str, dict[str, Any]]:
        """Version, domain, shape and licence of each benchmark scored; translation before reading, then by name."""
        found = {}
        for name in sorted(set(self.scores["benchmark"])):
            paths = (self.benchmarks_folder / name / f"{language}.json" for language in self.languages)
            first = next((path for path in paths if path.exists()), None)
            if first is None:
                raise UserError(f"{self.benchmarks_folder / name} has no text for any language of the run. Make the benchmarks again.")
            found[name] = {key: value for key, value in files.read_json(first).items() if key not in ("items", "language", "reason")}
        return dict(sorted(found.items(), key=lambda entry: (entry[1]["shape"] != "flores", entry[0])))

    @cached_property
    def pairs(self) -> list[Pair]:
        """Each trained model that was scored, with the nearest ancestor that was scored too."""
        scored, found = set(self.scores["model"]), []
        asked = list((self.config.get("evaluate") or {}).get("models") or [])
        for model in sorted(self.manifests, key=lambda name: (asked.index(name) if name in asked else len(asked), name)):
            if self.manifests[model]["kind"] != "trained" or model not in scored:
                continue
            base = next((name for name in self.ancestors(model)[1:] if name in scored), None)
            if base is not None:
                found.append(Pair(model, base, self.trained_languages(model)))
        return found

    def ancestors(self, model: str) -> list[str]:
        """The model, its base, the base's base and so on, as far as manifests tell."""
        line = [model]
        while (base := self.manifests.get(line[-1], {}).get("base")) and base not in line:
            line.append(base)
        return line

    def trained_languages(self, model: str) -> frozenset[str]:
        """Languages drawn in the mixtures of this model and of its ancestors (all mixtures, where the config names none)."""
        entries = [(self.config.get("models") or {}).get(name, {}) for name in self.ancestors(model)]
        mixtures = {entry["mixture"] for entry in entries if entry.get("mixture")}
        return frozenset(
            fact.language
            for fact in self.facts
            if fact.stage == "mixtures"
            and fact.measure == "rows_drawn"
            and (fact.value or 0) > 0
            and (not mixtures or fact.subject in mixtures)
        )

    @cached_property
    def correction(self) -> str:
        """How p values are corrected for the number of languages: a key of `significance.CORRECTIONS`."""
        return (self.config.get("reports") or {}).get("correction", "holm")

    @property
    def paired_test(self) -> str:
        """The test of one language, by name."""
        return "approximate randomisation" if self.scores["signature"].str.contains("|ar:", regex=False).any() else "paired bootstrap"

    @cached_property
    def compared(self) -> pd.DataFrame:
        """Every row with a baseline, with its `group`, two-sided and corrected p value, and a verdict.

        The correction runs over the languages of each model, baseline, benchmark, protocol, metric and direction. `smallest` is the
        smallest corrected p value that the test could have given, and where that is no significant one, `short_of` names what it lacks:
        "resamples" or "sentences" (in reading, passages). Such a test tells nothing, whatever the scores are.
        """
        rows = self.scores[(self.scores["baseline"] != "") & self.scores["delta"].notna()].copy()
        rows["group"] = [group_of(*cell) for cell in zip(rows["language"], rows["direction"], strict=True)]
        rows["base_value"] = rows["value"] - rows["delta"]
        tests = list(zip(rows["p_value"].astype(float), rows["signature"], rows["n"], strict=True))
        rows["p_two_sided"] = [significance.two_sided(*test) if test[0] == test[0] else 1.0 for test in tests]
        passages = self.passages
        units = [passages.get(key, items) for key, items in zip(rows[TESTED].itertuples(index=False, name=None), rows["n"], strict=True)]
        by_items = np.array([significance.finest(count) for count in units], dtype=float)
        by_draws = np.array([significance.smallest(signature) for signature in rows["signature"]], dtype=float)
        rows["floor"] = np.maximum(by_items, by_draws)
        rows["p_corrected"], rows["tests"], rows["smallest"] = 1.0, 1, 1.0
        for _, family in rows.groupby(FAMILY, sort=False):
            rows.loc[family.index, "p_corrected"] = significance.corrected(list(family["p_two_sided"]), self.correction)
            rows.loc[family.index, "smallest"] = significance.attainable(list(family["floor"]), self.correction)
            rows.loc[family.index, "tests"] = len(family)
        sure = rows["p_corrected"] < significance.LEVEL
        blind = ~sure & (rows["smallest"] >= significance.LEVEL)
        rows["short_of"] = np.where(blind, np.where(by_items >= by_draws, "sentences", "resamples"), "")
        gained = np.array([gain(*change) for change in zip(rows["metric"], rows["delta"], strict=True)], dtype=float)
        rows["verdict"] = UNCLEAR
        rows.loc[sure & (gained > 0), "verdict"] = BETTER
        rows.loc[sure & (gained < 0), "verdict"] = WORSE
        return rows

    @cached_property
    def passages(self) -> dict[tuple[str, ...], int]:
        """How many passages a reading test was made over, by `TESTED`."""
        return self.gains.groupby(TESTED)["passage"].size().to_dict() if len(self.gains) else {}

    @cached_property
    def tests(self) -> pd.DataFrame:
        """significance.csv: what every "significant" stands on."""
        trained = {(pair.model, language) for pair in self.pairs for language in pair.trained}
        rows = self.compared
        inside = [TRAINED if key in trained else KEPT_OUT for key in zip(rows["model"], rows["language"], strict=True)]
        return rows.assign(correction=self.correction, languages=inside)[TESTS].reset_index(drop=True)

    @cached_property
    def means_table(self) -> pd.DataFrame:
        """over_languages.csv: every mean over languages and its test."""
        return pd.DataFrame(self.over_languages, columns=OVER_LANGUAGES).assign(correction=self.correction)

    @cached_property
    def single(self) -> pd.DataFrame:
        """One row a model, benchmark, direction, protocol and metric (scores.csv has one a baseline), reasons left out."""
        rows = self.scores[self.scores["value"].notna()]
        rows = rows.drop_duplicates(["model", "benchmark", "language", "direction", "protocol", "metric"])
        return rows.assign(group=[group_of(*cell) for cell in zip(rows["language"], rows["direction"], strict=True)])

    def view(self, pair: Pair, benchmark: str) -> tuple[pd.DataFrame, dict[str, str]]:
        """The comparison of one pair on one benchmark, made once; see `_view`."""
        if (pair, benchmark) not in self.views:
            self.views[pair, benchmark] = self._view(pair, benchmark)
        return self.views[pair, benchmark]

    def _view(self, pair: Pair, benchmark: str) -> tuple[pd.DataFrame, dict[str, str]]:
        """What the main chart and table show of one benchmark, and the names of its marks.

        The trained model without examples stands against the base with worked examples (the honest baseline), and against the
        base asked in the same way where a language has no examples to show; `base_protocol` says which. `same_value` is always
        the base asked in the same way.
        """
        rows = self.compared
        rows = rows[(rows["model"] == pair.model) & (rows["benchmark"] == benchmark) & rows["baseline"].str.startswith(pair.base + "/")]
        rows = rows[rows["metric"].isin(PRIMARY)]
        if rows.empty:
            return rows, {}
        protocol = min(rows["protocol"])  # "0-shot" before "3-shot"
        rows = rows[rows["protocol"] == protocol]
        rows = rows.assign(base_protocol=rows["baseline"].str.removeprefix(pair.base + "/"))
        same = rows[rows["base_protocol"] == protocol].set_index(["language", "direction"])["base_value"]
        offered = sorted(set(rows["base_protocol"]), key=lambda shots: (re.fullmatch(r"[1-9]\d*-shot", shots) is None, shots))
        rows = rows.sort_values("base_protocol", key=lambda column: column.map(offered.index), kind="stable")
        rows = rows.drop_duplicates(["language", "direction"]).sort_values(["language", "direction"])
        base = self.single
        base = base[(base["model"] == pair.base) & (base["benchmark"] == benchmark) & base["metric"].isin(set(rows["metric"]))]
        base = base.set_index(["language", "direction", "protocol"])
        keys = pd.MultiIndex.from_frame(rows[["language", "direction", "base_protocol"]])
        rows["base_low"], rows["base_high"] = base["low"].reindex(keys).to_numpy(), base["high"].reindex(keys).to_numpy()
        rows["same_value"] = same.reindex(pd.MultiIndex.from_frame(rows[["language", "direction"]])).to_numpy()
        rows["name"] = [name_of(code) for code in rows["language"]]
        rows["trained"] = rows["language"].isin(pair.trained)
        rows["class"] = [languages.get(code).resource_class for code in rows["language"]]
        order = {group: rank for rank, group in enumerate(sorted(set(rows["group"]), key=group_rank))}
        rows = rows.sort_values("group", key=lambda groups: groups.map(order), kind="stable")
        return rows, {"same": f"base, {protocol}", "base": f"base, {offered[0]}", "model": f"trained, {protocol}"}

    def means(self, pair: Pair, benchmark: str, inside: bool) -> dict[str, Any]:
        """Averages over languages, for those in training (`inside`) or kept out of it; one with several directions counts by their mean.

        `values` by (model, protocol), over the `averaged` languages that have them all; `changes` against each way that the base was asked;
        the counts of verdicts, and of `blind` tests, which can tell nothing, are over all cells.
        """
        rows = self.single
        rows = rows[(rows["benchmark"] == benchmark) & (rows["language"].isin(pair.trained) == inside)]
        main = rows[rows["metric"].isin(PRIMARY) & rows["model"].isin((pair.model, pair.base))]
        # Only what every model and protocol has a score for: averages over different languages cannot be compared.
        shared = main.pivot_table(index=["language", "direction"], columns=["model", "protocol"], values="value").dropna()
        measured = rows[rows["metric"].isin(health.NAMES)]
        view, labels = self.view(pair, benchmark)
        view = view[view["trained"] == inside] if len(view) else view
        return {
            "values": shared.groupby("language").mean().mean().to_dict() if len(shared) else {},
            "averaged": shared.index.get_level_values("language").nunique() if len(shared) else 0,
            "health": measured.groupby(["model", "protocol", "metric"])["value"].mean().to_dict(),
            "labels": labels,
            "changes": self.changes(pair, benchmark, inside, labels),
            "blind": int((view["short_of"] != "").sum()) if len(view) else 0,
            "smallest": float(view["smallest"].min()) if len(view) else 0.0,
            "items": int(view["n"].max()) if len(view) else 0,
            "languages": view["language"].nunique() if len(view) else 0,
            "cells": len(view),
            **{key: int((view["verdict"] == verdict).sum()) if len(view) else 0 for key, verdict in VERDICTS.items()},
        }  # fmt: skip

    def changes(self, pair: Pair, benchmark: str, inside: bool, labels: dict[str, str]) -> list[dict[str, Any]]:
        """The rows of `over_languages` about all directions, of the protocol that the main chart shows; its baseline first."""
        if not labels:
            return []
        shots = {side: labels[side].split(", ")[1] for side in ("base", "model")}
        wanted = {"model": pair.model, "benchmark": benchmark, "protocol": shots["model"], "languages": TRAINED if inside else KEPT_OUT}
        found: dict[str, dict[str, Any]] = {}
        for row in self.over_languages:
            if row["metric"] in PRIMARY and wanted.items() <= row.items() and row["baseline"].startswith(pair.base + "/"):
                found[row["baseline"]] = row  # all directions together come last
        return sorted(found.values(), key=lambda row: row["baseline"] != f"{pair.base}/{shots['base']}")

    @cached_property
    def over_languages(self) -> list[dict[str, Any]]:
        """Wins, ties and losses and the mean change of each pair, test, baseline, metric and direction, with a test over languages.

        Once for the languages in training and once for those kept out; and for all directions together, where there are several:
        there a language's change is the mean over its directions. Where all languages answer the same questions, the test is over passages.
        """
        found = []
        keys = ["model", "baseline", "benchmark", "protocol", "metric", "languages"]
        for pair in self.pairs:
            rows = self.compared
            rows = rows[(rows["model"] == pair.model) & rows["baseline"].str.startswith(pair.base + "/")]
            rows = rows.assign(languages=rows["language"].isin(pair.trained).map({True: TRAINED, False: KEPT_OUT}))
            for names, part in rows.groupby(keys, sort=False):
                ways = list(part.groupby("group"))
                for way, few in [*ways, (ALL, part)] if len(ways) > 1 else ways:
                    means = few.groupby("language")[["base_value", "value", "delta"]].mean()
                    over, test = self.mean_test(few, list(means["delta"]))
                    row = dict(zip(keys, names, strict=True)) | {"direction": str(way), "n": len(means)} | means.mean().to_dict()
                    row |= {"low": test.low, "high": test.high, "p_value": test.p_value, "reason": test.reason, "test": over}
                    better = gain(row["metric"], row["delta"]) > 0
                    sure = test.p_value is not None and test.p_value < significance.LEVEL
                    row["verdict"] = "" if test.reason else (BETTER if better else WORSE) if sure else UNCLEAR
                    found.append(row | {name: int((few["verdict"] == verdict).sum()) for name, verdict in VERDICTS.items()})
        order = list(self.benchmarks)
        return sorted(found, key=lambda row: (row["model"], order.index(row["benchmark"]), row["metric"] not in PRIMARY, row["metric"],
                                              row["protocol"], row["baseline"], row["languages"] == KEPT_OUT,
                                              group_rank(row["direction"])))  # fmt: skip

    def mean_test(self, rows: pd.DataFrame, differences: list[float]) -> tuple[str, significance.Mean]:
        """What the mean over the languages of `rows`, tests of one kind, is tested over, and the test."""
        if self.benchmarks[rows["benchmark"].iloc[0]]["shape"] in WRITTEN:
            return "languages", significance.over_languages(differences)
        keys = rows[TESTED]
        found = self.gains.merge(keys, on=TESTED) if len(self.gains) else keys.iloc[:0]
        if found["language"].nunique() < len(keys):
            mean = float(np.mean(differences))
            return "passages", significance.Mean(mean, reason="n/a: scores without gains by passage; score again")
        tables = {
            name: found.pivot_table(index="language", columns="passage", values=name, fill_value=0).to_numpy(dtype=float)
            for name in ("questions", *VIEWS)
        }
        return "passages", significance.over_passages([tables[name] for name in VIEWS], tables["questions"])

    def unhealthy(self, pair: Pair) -> list[dict[str, Any]]:
        """Where the output of a trained model, or of the base it is compared with, is ill; see `ill`."""
        return [row for row in self.ill if row["model"] in (pair.model, pair.base)]

    @cached_property
    def ill(self) -> list[dict[str, Any]]:
        """Where output is ill: model, protocol, language, direction, test, and what is wrong in words; most faults first.

        Every model, baseline and protocol that was scored is judged, by the table in `health`.
        """
        rows = self.scores[self.scores["metric"].isin(health.NAMES) & self.scores["value"].notna()]
        measured: dict[tuple[str, ...], dict[str, Any]] = {}
        for row in rows.itertuples():
            measured.setdefault((row.model, row.protocol, row.benchmark, row.language, row.direction), {})[row.metric] = row
        found = []
        for (model, protocol, benchmark, language, direction), one in sorted(measured.items()):
            if wrong := health.faults(one):
                way = group_of(language, direction).replace("X", name_of(language)) if "-" in direction else name_of(language)
                found.append({"model": model, "protocol": protocol, "benchmark": benchmark, "language": language, "way": way,
                              "wrong": ", ".join(wrong), "count": len(wrong)})  # fmt: skip
        return sorted(found, key=lambda row: -row["count"])

    def benchmark_texts(self, benchmark: str, language: str) -> dict[Any, str]:
        """Test sentences of one language by item, read once."""
        key = (benchmark, language)
        if key not in self.texts:
            path = self.benchmarks_folder / benchmark / f"{language}.json"
            items = files.read_json(path)["items"] if path.exists() else []
            self.texts[key] = {item["item"]: item["text"] for item in items if item.get("split") == "devtest"}
        return self.texts[key]

    def facts_of(self, language: str, stage: str) -> list[ledger.Fact]:
        return self._by_language.get((language, stage), [])

    @cached_property
    def _by_language(self) -> dict[tuple[str, str], list[ledger.Fact]]:
        found: dict[tuple[str, str], list[ledger.Fact]] = {}
        for fact in self.facts:
            found.setdefault((fact.language, fact.stage), []).append(fact)
        return found


def read_manifests(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    return {manifest["model"]: manifest for manifest in map(files.read_json, paths)}


def read_provenance(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Records of downloads; a file holds one record or a list of them."""
    records: list[dict[str, Any]] = []
    for path in paths:
        value = files.read_json(path)
        records += value if isinstance(value, list) else [value]
    return sorted(records, key=lambda record: str(record.get("package", "")))


def read_training(paths: Sequence[Path], models: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Training logs by model: the model is the folder in the path that bears a model's name."""
    logs = {}
    for path in paths:
        model = next((part for part in reversed(path.parts[:-1]) if part in models), path.parent.name)
        logs[model] = files.read_jsonl(path)
    return logs
