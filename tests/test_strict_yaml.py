"""What YAML takes in silence for something else is one error that names file and line."""

from pathlib import Path

import pytest

from workflow_scripts.common import strict_yaml, tables
from workflow_scripts.common.cli import UserError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "the key a is there twice, in lines 1 and 3; YAML would keep the second only"),
        ("a:\n  x: {b: 1, b: 2}\n", "the key b is there twice, in lines 2 and 2"),
        ("- a: 1\n- b: {c: 1}\n  b: 2\n", "the key b is there twice, in lines 2 and 3"),
        ('{"a": {"b": 1, "b": 2}}', "the key b is there twice"),
        ("a:\n\tb: 1\n", "not valid YAML: line 2 holds a tab. Indent with blanks."),
        ("a: [1\nb: 2\n", "not valid YAML: line 2"),
        ("a: !!python/name:os.system\n", "could not determine a constructor for the tag"),
        ("limit: 010\n", "line 1: YAML reads 010 as octal"),
        ("limit: 1:30\n", "line 1: YAML reads 1:30 to the base of 60"),
        ("rate: .nan\n", "as infinite or as no number at all"),
        ("a:\n  revision: 2024-01-01\n", 'line 2: YAML reads 2024-01-01 as a date. Put it in quotation marks if it is text: "2024-01-01"'),
        ("no: 1\n", 'line 1: YAML reads the key no as bool. Put it in quotation marks: "no"'),
        ("models: {1: {}}\n", "YAML reads the key 1 as int"),
        ("? [a]\n: 1\n", "a key must be a word"),
        ("[1, 2]\n", "is a list; it must be a mapping"),
        ("# nothing\n", "is empty; it must be a mapping"),
        ("word\n", "is a str; it must be a mapping"),
    ],
)
def test_what_is_easily_misread_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        strict_yaml.read(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes("a: 1\n".encode("utf-16"))
    with pytest.raises(UserError, match="is not UTF-8 text"):
        strict_yaml.read(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        strict_yaml.read(tmp_path / "absent.yaml")


def test_a_mark_at_the_start_json_anchors_and_quoted_values_are_right(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: &x {b: '010', c: no}\nd: {<<: *x, b: 2}\ne: *x\n")
    assert strict_yaml.read(path) == {"a": {"b": "010", "c": False}, "d": {"b": 2, "c": False}, "e": {"b": "010", "c": False}}
    path.write_text('{\n\t"a": [1, 2]\n}', encoding="utf-8")
    assert strict_yaml.read(path) == {"a": [1, 2]}


@pytest.mark.parametrize("path", sorted((tables.ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_are_read(path: Path) -> None:
    assert strict_yaml.read(path)


def test_a_key_twice_on_the_command_line() -> None:
    with pytest.raises(UserError, match="--config sets recipe twice, to atlas and to laptop"):
        strict_yaml.check_arguments(["snakemake", "-n", "--config", "recipe=atlas", "recipe=laptop", "--cores", "2"])
    with pytest.raises(UserError, match="--config evaluate: the key beams is there twice"):
        strict_yaml.check_arguments(["snakemake", "-C", "evaluate={beams: 1, beams: 2}"])
    strict_yaml.check_arguments(["snakemake", "--config", "recipe=atlas", "--set-threads", "recipe=1", "recipe=2"])
