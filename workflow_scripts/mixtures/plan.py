"""How many rows each group gets: shares, temperature, caps; all in whole numbers that add up."""

from collections.abc import Mapping


def temperature_weights(available: Mapping[str, int], temperature: float) -> dict[str, float]:
    """Weights n^(1/T), as for mBERT, XLM-R and NLLB: T = 1 keeps natural proportions, a large T makes languages equal."""
    return {name: count ** (1 / temperature) if count else 0.0 for name, count in available.items()}


def apportion(total: int, weights: Mapping[str, float], limits: Mapping[str, int]) -> dict[str, int]:
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
