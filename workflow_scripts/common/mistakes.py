"""What is wrong with a value, in one plain sentence: jsonschema's errors, with the place, the cause and what to write instead.

Where a schema offers several forms (a model is given, trimmed or trained), the form is told that the value comes nearest to.
"""

import difflib
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

KINDS = {
    "array": "a list",
    "object": "a mapping (key: value)",
    "string": "text",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "null": "null",
}
TRAP = "Without quotation marks YAML reads no and off as false, yes and on as true"


@cache
def _validator() -> Any:
    """Draft 2020-12, but 8.0 is no whole number (a job would stop at it), and NaN and infinity are no numbers."""
    import jsonschema

    whole = lambda _, value: isinstance(value, int) and not isinstance(value, bool)  # noqa: E731
    finite = lambda _, value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)  # noqa: E731
    base = jsonschema.Draft202012Validator
    return jsonschema.validators.extend(base, type_checker=base.TYPE_CHECKER.redefine_many({"integer": whole, "number": finite}))


def find(value: Any, schema: dict[str, Any]) -> str:
    """The most important rule of `schema` that `value` breaks, with its place; "" where it breaks none."""
    error = _first(_validator()(schema).iter_errors(value))
    return "" if error is None else _sentence(error)


def nearest(word: str, known: Iterable[str], count: int = 5) -> list[str]:
    """Those of some names that are most like a word, without regard to case."""
    names = {name.casefold(): name for name in known}
    return [names[match] for match in difflib.get_close_matches(word.casefold(), names, n=count, cutoff=0.6)]


def near(word: Any, known: Iterable[Any]) -> str:
    """ " Did you mean ...?" with the nearest of some names, or "" where none is near."""
    found = nearest(str(word), map(str, known), 3)
    return f" Did you mean {', '.join(found)}?" if found else ""


def _first(errors: Iterable[Any]) -> Any:
    """The outermost error, as jsonschema's `best_match` ranks them; of equal ones the first."""
    import jsonschema

    return max(errors, key=jsonschema.exceptions.relevance, default=None)


def _sentence(error: Any) -> str:
    """Place, broken rule and the schema's own words on it."""
    told, hint = _told(error), _hint(error)
    if error.validator in ("anyOf", "oneOf") and error.context:
        if names := _constants(error):
            key, value = names
            told = f"{key}: {error.instance[key]!r} is none of {', '.join(value)}.{near(error.instance[key], value)}"
        elif len(forms := _forms(error)) == 1 and _only(forms[0]) != "required":
            inner = _first(forms[0])
            depth = len(inner.absolute_path) - len(error.absolute_path)
            plain = inner.validator not in ("additionalProperties", "required")
            own = _hint(inner) if depth else ""
            if depth > 1 or own or (depth and not plain):
                return _sentence(inner)
            return _joined(inner, _told(inner), hint)
        else:
            told = f"{'; or '.join(_and(_missing(form)) for form in forms)} {_verb(forms)} missing."
    return _joined(error, told, hint)


def _joined(error: Any, *parts: str) -> str:
    where = ".".join(map(str, error.absolute_path))
    return " ".join(filter(None, [f"{where}:" if where else "", *parts]))


def _verb(forms: list[list[Any]]) -> str:
    return "is" if all(len(_missing(form)) == 1 for form in forms) else "are"


def _only(form: list[Any]) -> str:
    """The rule that all errors of a form break, or ""."""
    rules = {each.validator for each in form}
    return rules.pop() if len(rules) == 1 else ""


def _constants(error: Any) -> tuple[str, list[str]] | None:
    """Where each form is known by the value of one key (a filter's name) and none has the value that is there: the key, and all values."""
    depth = len(error.absolute_path)
    found = [each for each in error.context if each.validator == "const" and len(each.absolute_path) == depth + 1]
    forms = {each.relative_schema_path[0] for each in found}
    if not found or len(forms) < len(error.validator_value):
        return None
    return str(found[0].absolute_path[-1]), [str(each.validator_value) for each in found]


def _forms(error: Any) -> list[list[Any]]:
    """The errors of the form that a value comes nearest to; of several forms where it only lacks keys of each and fits them equally."""
    forms: dict[int, list[Any]] = {}
    for each in error.context:
        forms.setdefault(each.relative_schema_path[0], []).append(each)
    depth = len(error.absolute_path)

    def rank(form: list[Any]) -> tuple[int, ...]:
        here = [each for each in form if len(each.absolute_path) == depth]
        wrong = sum(each.validator in ("type", "const", "enum") for each in here)
        other = sum(each.validator == "const" for each in form)
        unknown = [(key, each) for each in here for key in _unknown(each)]
        misspelt = sum(bool(near(key, each.schema.get("properties", {}))) for key, each in unknown)
        return wrong, other, len(unknown), -misspelt

    best = min(map(rank, forms.values()))
    nearest = sorted((form for form in forms.values() if rank(form) == best), key=lambda form: len(_missing(form)))
    return [form for form in nearest if _only(form) == "required"] if _only(nearest[0]) == "required" else nearest[:1]


def _unknown(error: Any) -> list[str]:
    return (
        [key for key in error.instance if key not in error.schema.get("properties", {})]
        if error.validator == "additionalProperties"
        else []
    )


def _missing(form: list[Any]) -> list[str]:
    """The keys that one form of a value needs and that are not there."""
    return list(
        dict.fromkeys(key for each in form if each.validator == "required" for key in each.validator_value if key not in each.instance)
    )


def _and(words: list[str]) -> str:
    return " and ".join([*filter(None, [", ".join(words[:-1])]), *words[-1:]])


def _hint(error: Any) -> str:
    """The description of the broken rule, as a sentence."""
    hint = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    return "" if not hint or error.validator in ("additionalProperties", "required") else hint if hint.endswith(".") else f"{hint}."


def _told(error: Any) -> str:
    """One broken rule, without its place."""
    value, rule = error.instance, error.validator_value
    if error.validator == "additionalProperties" and rule is False:
        unknown, known = _unknown(error), list(error.schema.get("properties", {}))
        verb = "is no key" if len(unknown) == 1 else "are no keys"
        like = near(unknown[0], known) or f" Known: {', '.join(known)}."
        return f"{_and(list(map(str, unknown)))} {verb} here.{like}"
    if error.validator == "required":
        missing = [key for key in rule if key not in value]
        return f"{_and(missing)} {'is' if len(missing) == 1 else 'are'} missing."
    if error.validator == "type":
        wanted = [rule] if isinstance(rule, str) else rule
        return _of_type(value, wanted)
    if error.validator == "pattern" and (number := _number(value, True)) and "integer" in (error.schema.get("type") or ()):
        return f"{value!r} is text. {number}"
    if error.validator in ("enum", "const"):
        if isinstance(value, bool):
            return f"{value} is a truth value. {TRAP}."
        return f"{error.message}.{near(value, rule) if error.validator == 'enum' else ''}"
    if error.validator == "contains":
        return f"{rule['const']} must be among them." if "const" in rule else f"{error.message}."
    if error.validator == "uniqueItems":
        twice = [str(item) for number, item in enumerate(value) if item in value[:number]]
        return f"{', '.join(dict.fromkeys(twice))} is listed twice."
    if error.validator in ("anyOf", "oneOf"):  # several forms fit, which no schema here allows
        return "several forms fit, and only one may."
    return f"{error.message}."


def _of_type(value: Any, wanted: list[str]) -> str:
    """What a value of the wrong type is, and what to write."""
    must = " or ".join(KINDS[kind] for kind in wanted)
    numeric = {"integer", "number"} & set(wanted)
    if value is None:
        return f"there is nothing behind it (null); it must be {must}."
    if isinstance(value, bool):
        return f"{value} is a truth value; it must be {must}. {TRAP}."
    if isinstance(value, float) and numeric:
        whole = math.isfinite(value) and value.is_integer()
        return (
            f"{value:g} is no number to work with."
            if not math.isfinite(value)
            else (f"{value} must be a whole number" + (f": write {value:.0f}." if whole else "."))
        )
    if isinstance(value, str) and numeric and (advice := _number(value, "number" not in wanted)):
        return f"{value!r} is text; it must be {must}. {advice}"
    if isinstance(value, str) and "boolean" in wanted:
        return f"{value!r} is text. Write true or false, without quotation marks."
    if isinstance(value, int | float) and "boolean" in wanted:
        return f"{value} is a number. Write true or false."
    if isinstance(value, int | float) and "string" in wanted:
        return f'{value} is a number; it must be {must}. Put it in quotation marks: "{value}".'
    if isinstance(value, str | int | float) and "array" in wanted:
        return f"{value!r} must be {must}: write [{value}]."
    if isinstance(value, dict) and "array" in wanted:
        write = "begin each entry with `- `" if any(value.values()) else f"write [{', '.join(map(str, value))}]"
        return f"it is a mapping, and must be {must}: {write}."
    if isinstance(value, list) and "object" in wanted:
        return f"it is a list, and must be {must}."
    if isinstance(value, dict | list):
        return f"it is {KINDS['object' if isinstance(value, dict) else 'array']}, and must be {must}."
    return f"{value!r} must be {must}."


def _number(value: Any, whole: bool) -> str:
    """How to write what was meant as a number, a whole one or any, where text looks like one; "" for other text."""
    if not isinstance(value, str):
        return ""
    text = value.strip()
    if match := re.fullmatch(r"([-+]?[0-9.,_ ]+)\s*%", text):
        try:
            return f"Write it as a share, without %: {float(match[1].replace(',', '.')) / 100:g}."
        except ValueError:
            return "Write it as a share, without %: 0.5."
    if match := re.fullmatch(r"([-+]?[0-9]+(?:\.[0-9]*)?)[eE]([-+]?[0-9]+)", text):
        if whole:
            return f"Write out the digits: {float(text):.0f}."
        mantissa = match[1] if "." in match[1] else f"{match[1]}.0"
        sign = match[2] if match[2][0] in "+-" else f"+{match[2]}"
        return f"YAML reads an exponent as a number only with a point and a sign: write {mantissa}e{sign}, without quotation marks."
    if re.fullmatch(r"[-+]?[0-9]{1,3}([,' _][0-9]{3})+(\.[0-9]+)?", text):
        return f"Write the digits without separators: {re.sub(r'[^-+0-9.]', '', text)}."
    if re.fullmatch(r"[-+]?[0-9]+,[0-9]+", text):
        return f"Write a point for the comma: {text.replace(',', '.')}."
    if re.fullmatch(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text):
        return (
            f"Give the number without quotation marks: {text}. (Within a value of --config every number is text: "
            "write such settings into config.yaml or a file for --configfile.)"
        )
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kKMGB])", text):
        times = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}[match[2].casefold()]
        return f"Write out the digits: {float(match[1]) * times:.0f}."
    if re.fullmatch(r"[-+]?(nan|inf|infinity)", text, re.IGNORECASE):
        return "Give a number that is finite."
    return ""
