"""General instructions in the forms they are published in: every row is kept whole or counted under a reason."""

import gzip
import json

import polars as pl
import pytest

from workflow_scripts.common import tables
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.contamination import Line
from workflow_scripts.instructions import general
from workflow_scripts.instructions.table import SCHEMA

SETTINGS = {"max_characters": 200, "decontamination": {"ngram": 4, "similarity": 0.6}}
DIALOGUE = [("user", "Hi"), ("assistant", "Hello"), ("user", "More?"), ("assistant", "Yes.")]


@pytest.fixture
def listed(monkeypatch):
    """Pretend that a set with that form and those files is in the table."""

    def pretend(form, members):
        row = {"set": "mine", "package": "", "members": members, "format": form, "language": "eng_Latn", "licence": "CC0-1.0"}
        monkeypatch.setattr(general.tables, "row", lambda table, key: row)

    return pretend


def made(path, lines=()):
    table, counts = general.make({"mine": path}, list(lines), SETTINGS)
    assert counts["mine"]["rows_read"] == sum(counts["mine"].values()) - counts["mine"]["rows_read"] + table.height
    assert table.schema == SCHEMA
    return [[(turn["role"], turn["content"]) for turn in row] for row in table["messages"].to_list()], counts["mine"]


THEIRS = {"user": "human", "assistant": "gpt"}
FORMS = {
    "alpaca": {"instruction": "More?", "input": "", "output": "Yes. ", "history": [["Hi", "Hello"]]},
    "sharegpt": {"id": "x", "conversations": [{"from": THEIRS[role], "value": content} for role, content in DIALOGUE]},
    "messages": {"messages": [{"role": role, "content": content} for role, content in DIALOGUE]},
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_keeps_all_turns(tmp_path, listed, form):
    listed(form, "*.json *.jsonl *.parquet")
    row = FORMS[form]
    (tmp_path / "a.json").write_text(json.dumps([row], indent=1))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    pl.DataFrame([row]).write_parquet(tmp_path / "a.parquet")
    for name in ("a.json", "a.jsonl.gz", "a.parquet"):
        assert made(tmp_path / name)[0] == [DIALOGUE], name


def test_what_is_left_out_is_counted(tmp_path, listed):
    listed("messages", "*.jsonl")
    system, ask, answer, tool = (("system", "Be brief."), ("user", "Who wrote it?"), ("assistant", "She did."), ("tool", "{}"))
    rows = [
        [system, ask, answer],
        [ask, answer, ("user", "Thanks")],  # the same question again; the thanks are cut
        [answer, ask, answer],
        [ask, tool, answer],
        [ask, ("assistant", " ")],
        [ask],
        [("user", "x" * 300), answer],
        [("user", "Say the quick brown fox jumps over the lazy dog"), answer],
        [("user", "Other"), answer, ("user", "Thanks")],
    ]
    text = "".join(json.dumps({"messages": [{"role": role, "content": text} for role, text in row]}) + "\n" for row in rows)
    (tmp_path / "a.jsonl").write_text(text + json.dumps({"messages": [{"role": "user", "content": None}]}) + "\n")
    kept, counts = made(tmp_path / "a.jsonl", [Line("test", "eng_Latn", "devtest", "0", "The quick brown fox jumps over the lazy dog.")])
    assert kept == [[system, ask, answer], [("user", "Other"), answer]]
    assert counts == {
        "rows_read": 10, "dropped:duplicates": 1, "dropped:roles": 2, "dropped:role tool": 1, "dropped:no text": 1, "dropped:empty": 1,
        "dropped:length": 1, "contaminated:test": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asks", "answers"),
    [("human", "gpt"), ("USER", "ASSISTANT"), ("user", "model"), ("Human", "AI"), ("prompter", "bing"), ("user", "bot")],
)
def test_roles_by_the_names_of_published_lists(tmp_path, listed, asks, answers):
    listed("sharegpt", "*.jsonl")
    row = {"conversations": [{"from": {"user": asks}.get(role, answers), "value": text} for role, text in DIALOGUE]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n\n")
    assert made(tmp_path / "a.jsonl")[0] == [DIALOGUE]


def test_contents_in_parts_and_rows_of_nothing(tmp_path, listed):
    listed("messages", "*.jsonl *.json *.parquet")
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}

    said = [{"type": "text", "text": "She "}, {"type": "text", "text": "did."}]

    def asking(content):
        turns = [("developer", "Be brief."), ("user", content), ("assistant", said)]
        return {"messages": [{"role": role, "content": content} for role, content in turns]}

    rows = [asking([{"type": "text", "text": "Who?"}]), asking(["Who ", "was it?"]), asking([image, {"type": "text", "text": "What?"}])]
    rows += [asking([]), {"messages": []}, {"messages": [{"role": "function_call", "content": "{}"}]}]
    rows += [{"messages": [{"role": "system", "content": "x"}]}]
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(rows), encoding="utf-8")
    (tmp_path / "b.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, rows)), encoding="utf-8")
    for name in ("a.json", "b.jsonl"):
        kept, counts = made(tmp_path / name)
        system, answer = ("system", "Be brief."), ("assistant", "She did.")
        assert kept == [[system, ("user", "Who?"), answer], [system, ("user", "Who was it?"), answer]]
        assert counts == {
            "rows_read": 7, "dropped:no text": 2, "dropped:empty": 1, "dropped:role function_call": 1, "dropped:roles": 1
        }  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.jsonl holds no entry"),
        (b"\n\n", r"a\.jsonl holds no entry"),
        (b"[]", r"a\.jsonl holds no entry"),
        (b'{"messages": null}\n', "entry 1 is not in messages form"),
        (b'["text"]', "entry 1 is not in messages form"),
        (b'{"messages": [{"role": "user", "content": "\\ud83d"}]}\n', "line 1: a text holds half a character"),
        (b'[{"messages": []}, {"messages": [{"role": "user", "content": "\\udc00"}]}]', "entry 2: a text holds half a character"),
        (b'{"messages": []}\n{"messages": "\xff"}\n', "line 2 is not UTF-8"),
        (b'["\xff"]', "is not JSON"),
        (b'{"conversations": []}\n', "entry 1 is not in messages form"),
        (b'{"messages": [{"role": "user"}]}\n', "entry 1 is not in messages form"),
        (b'[{"messages": []}', "is not JSON"),
        (b'{"messages": []\n', "line 1 is not JSON"),
        (gzip.compress(b'{"messages": []}\n' * 1000, mtime=0)[:-9], "truncated or broken"),
    ],
)
def test_other_forms_and_broken_files_are_one_clear_error(tmp_path, listed, content, message):
    listed("messages", "*.jsonl")
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        made(tmp_path / "a.jsonl")
    with pytest.raises(UserError, match=r"truncated or broken|no file"):
        listed("messages", "*.csv")
        made(tmp_path / "a.jsonl")


ALPACA = tables.ROOT.parent / "shared" / "data" / "alpaca_demo.tar.xz"


@pytest.mark.skipif(not ALPACA.exists(), reason="the alpaca lists are not beside the project")
def test_the_demo_list(listed):
    listed("alpaca", "alpaca_en_demo.json")
    kept, counts = made(ALPACA)
    assert counts["rows_read"] == 999 and len(kept) == 999 - sum(counts.values()) + 999 > 200
    assert all([role for role, _ in row] == ["user", "assistant"] for row in kept)
