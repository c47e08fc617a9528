"""How many rows each group gets: shares, temperature, caps, kinds, phases; all in whole numbers that add up."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

CROSS_LINGUAL = "cross-lingual"
GENERAL = "general"
Name = TypeVar("Name", str, int, "Group")


class Group(NamedTuple):
    """Rows that are drawn from as one; `language` is whose account they go to."""

    language: str
    kind: str
    source_language: str
    target_language: str

    @property
    def part(self) -> str:
        """Which share of the mixture it belongs to: a pivot's general instructions, or the cross-lingual ones."""
        return self.language if self.kind == GENERAL else CROSS_LINGUAL


def temperature_weights(available: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Weights n^(1/T), as for mBERT, XLM-R and NLLB: T = 1 keeps natural proportions, a large T makes languages equal."""
    return {name: count ** (1 / temperature) if count else 0.0 for name, count in available.items()}


def apportion(total: int, weights: Mapping[Name, float], limits: Mapping[Name, int]) -> dict[Name, int]:
    """Split `total` in proportion to `weights`, no group above its limit; what a full group cannot take goes to the others.

    Whole numbers by largest remainder, ties by name. The sum is `total`, or the sum of the limits where that is less.
    """
    given = dict.fromkeys(weights, 0)
    while True:
        left = total - sum(given.values())
        open_weights = {name: weight for name, weight in weights.items() if weight > 0 and given[name] < limits[name]}
        if left <= 0 or not open_weights:
            return given
        ideal = {name: left * weight / sum(open_weights.values()) for name, weight in open_weights.items()}
        whole = {name: int(share) for name, share in ideal.items()}
        by_remainder = sorted(ideal, key=lambda name: (whole[name] - ideal[name], name))
        for name in by_remainder[: left - sum(whole.values())]:
            whole[name] += 1
        for name, count in whole.items():
            given[name] = min(limits[name], given[name] + count)


def wanted(group: Group, settings: Mapping[str, Any]) -> bool:
    """Whether a mixture draws from this group: its part has a share and its kind a weight, and one end is a pivot of the mixture."""
    if group.part not in settings["shares"]:
        return False
    if group.kind == GENERAL:
        return True
    pivots = settings.get("pivots", group[2:])
    return group.kind in kinds_of(settings) and not {group.source_language, group.target_language}.isdisjoint(pivots)


def kinds_of(settings: Mapping[str, Any]) -> dict[str, float]:
    """The kinds of the cross-lingual part, with their weights."""
    return settings.get("kinds", {"translation": 1.0})


def plan(stock: Mapping[Group, int], settings: Mapping[str, Any]) -> tuple[dict[Group, list[int]], dict[tuple[str, str], float]]:
    """Rows of each group in each phase, and the share of the mixture that is planned for each (part, language).

    `stock` counts rows that are there once. A later phase draws from what earlier ones left, and `cap` holds over all of them.
    """
    phases = settings.get("phases", [{"share": 1.0}])
    shares = {place: phase["share"] for place, phase in enumerate(phases)}
    sizes = apportion(settings["examples"], shares, dict.fromkeys(shares, settings["examples"]))
    left = {group: stock[group] * settings["repeats"] for group in sorted(stock)}
    given: dict[Group, list[int]] = {group: [] for group in left}
    planned: defaultdict[tuple[str, str], float] = defaultdict(float)
    for place, phase in enumerate(phases):
        own = {**settings, **phase}
        parts = _by((group for group in left if wanted(group, own)), "part")
        room = {part: _sum(left, parts.get(part, ())) for part in own["shares"]}
        drawn = dict.fromkeys(left, 0)
        for part, rows_of_part in apportion(sizes[place], own["shares"], room).items():
            languages = _by(parts.get(part, ()), "language")
            weights = temperature_weights({code: _sum(stock, few) for code, few in languages.items()}, own["temperature"])
            limits = {code: _sum(left, few) for code, few in languages.items()}
            if part == CROSS_LINGUAL:
                used = {code: sum(sum(given[group]) for group in few) for code, few in languages.items()}
                limits = {code: min(limit, max(0, own["cap"] - used[code])) for code, limit in limits.items()}
            for code, rows in apportion(rows_of_part, weights, limits).items():
                planned[part, code] += phase["share"] * own["shares"][part] * weights[code] / sum(weights.values())
                kinds = _by(languages[code], "kind")
                of_kind = {kind: kinds_of(own).get(kind, 1.0) for kind in kinds}
                for kind, count in apportion(rows, of_kind, {kind: _sum(left, few) for kind, few in kinds.items()}).items():
                    drawn |= apportion(count, dict.fromkeys(kinds[kind], 1.0), left)
        for group, count in drawn.items():
            given[group].append(count)
            left[group] -= count
    return given, dict(planned)


def _sum(counts: Mapping[Group, int], groups: Iterable[Group]) -> int:
    return sum(counts[group] for group in groups)


def _by(groups: Iterable[Group], field: str) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(getattr(group, field), []).append(group)
    return found
