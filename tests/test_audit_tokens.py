"""The audit of tokens before training: what it counts, that training counts the same, and what it stops."""

import shutil
from pathlib import Path
from typing import Any

import polars
import pytest
import transformers
import yaml

from tests import tiny_model, workspace
from workflow_scripts.common import causal, chat, cli, config, files, ledger
from workflow_scripts.models import audit, gate, tokens, train

PLAIN = (workspace.ROOT / "resources/chat_templates/plain.jinja").read_text(encoding="utf-8")
# As Llama 2's: each turn of the user begins anew.
TURNS = (
    "{% for message in messages %}{% if message.role == 'user' %}{{ bos_token + '[INST] ' + message.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + message.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# As Qwen's: no BOS, and a line break behind the end mark, which is not the tokenizer's EOS.
MARKED = (
    "{% for message in messages %}{{ '<start>' + message.role + '\n' + message.content + '<end>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start>assistant\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.make(tmp_path_factory.mktemp("base") / "model")


def load(base: Path, template: str = PLAIN, **changes: Any) -> Any:
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, **changes)
    tokenizer.chat_template = template
    return tokenizer


def row(language: str, request: str, answer: str, target: str = "", before: tuple[str, ...] = ()) -> dict[str, Any]:
    """One instruction; `before` are turns before the request, the user's and the assistant's by turns."""
    turns = [*before, request, answer]
    messages = [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    return {"language": language, "target_language": target or language, "messages": messages}


def written(path: Path, *rows: dict[str, Any]) -> Path:
    polars.DataFrame(list(rows)).write_parquet(path)
    return path


def audited(tokenizer: Any, base: Path, mixture: Path, max_length: int = 64, answers: str = "all") -> list[ledger.Fact]:
    accounts = audit.Accounts(tokenizer, causal.end_marks(tokenizer, causal.generation_config(base)), max_length)
    for one in tokens.read(tokenizer, mixture, answers):
        accounts.add(one)
    return list(accounts.facts("lifted"))


def of(facts: list[ledger.Fact], language: str) -> dict[str, Any]:
    return {fact.measure: fact.reason or fact.value for fact in facts if fact.language == language}


def test_rows_cut_and_rows_with_nothing_to_learn(base: Path, tmp_path: Path) -> None:
    tokenizer = load(base)
    rows = [
        row("deu_Latn", "The cat.", "Die Katze sitzt."),
        row("deu_Latn", "The cat.", "Die Matte " * 200),  # loses the end of its answer
        row("deu_Latn", "The mat " * 200, "Die Matte."),  # loses all of it
        row("rus_Cyrl", "The cat.", "   "),  # has none
    ]
    facts = audited(tokenizer, base, written(tmp_path / "m.parquet", *rows))
    whole = [chat.encode_example(tokenizer, one["messages"]) for one in rows]
    found, lengths = of(facts, "deu_Latn"), [len(prompt) + len(answer) for prompt, answer in whole[:3]]
    assert [found[name] for name in ("rows", "rows_truncated", "rows_dropped", "rows_without_target")] == [3, 1, 1, 1]
    assert found["share_rows_cut"] == 2 / 3
    kept = len(whole[0][1]) + 64 - len(whole[1][0])
    assert found["completion_tokens"] == kept
    assert found["share_completion_kept"] == kept / sum(len(answer) for _, answer in whole[:3])
    assert found["tokens_per_row"] == pytest.approx(sum(lengths) / 3)
    assert found["tokens_per_row_p95"] == max(lengths)
    assert of(facts, "rus_Cyrl")["rows_without_target"] == 1 and of(facts, "rus_Cyrl")["rows_dropped"] == 0
    assert {fact.stage for fact in facts} == {"models"} and {fact.subject for fact in facts} == {"lifted"}


def test_all_answers_of_a_conversation_are_counted(base: Path, tmp_path: Path) -> None:
    tokenizer = load(base)
    rows = [
        row("deu_Latn", "The mat.", "Die Matte.", before=("The cat：", "Die Katze.")),
        row("deu_Latn", "The mat " * 200, "Die Matte.", before=("The cat：", "Die Katze.")),  # loses its last question and answer
        row("rus_Cyrl", "The mat.", " ", before=("The cat：", "Кошка.")),
    ]
    mixture = written(tmp_path / "m.parquet", *rows)
    first, last, blank = (len(tokenizer(text, add_special_tokens=False)["input_ids"]) + 1 for text in (" Die Katze.", " Die Matte.", "  "))
    found = of(audited(tokenizer, base, mixture), "deu_Latn")
    assert [found[name] for name in ("rows", "rows_truncated", "rows_dropped", "rows_without_target")] == [2, 1, 0, 0]
    assert found["completion_tokens"] == 2 * first + last
    assert found["share_completion_kept"] == (2 * first + last) / (2 * first + 2 * last)
    assert found["tokens_per_word"] == (last - 1) / 2, "the language of the answers before is not known"
    found = of(audited(tokenizer, base, mixture, answers="last"), "deu_Latn")
    assert [found[name] for name in ("rows", "rows_truncated", "rows_dropped", "rows_without_target")] == [2, 0, 1, 1]
    assert (found["completion_tokens"], found["share_completion_kept"], found["tokens_per_word"]) == (last, 0.5, (last - 1) / 2)
    for answers, without, more in (("all", 0, len(tokenizer(" Кошка.", add_special_tokens=False)["input_ids"]) + 1), ("last", 1, 0)):
        found = of(audited(tokenizer, base, mixture, answers=answers), "rus_Cyrl")
        assert (found["rows_without_target"], found["completion_tokens"]) == (without, blank + more)


def test_tokens_of_each_language_are_those_of_the_answers_written_in_it(base: Path, tmp_path: Path) -> None:
    tokenizer = load(base)
    rows = [
        row("rus_Cyrl", "German: x", "Кошка сидит на коврике."),
        row("rus_Cyrl", "Russian: x", "The cat sits.", target="eng_Latn"),
        row("tha_Thai", "x", "แมว นั่ง"),
        row("swh_Latn", "x", "The mat.", target="eng_Latn"),
    ]
    facts = audited(tokenizer, base, written(tmp_path / "m.parquet", *rows), max_length=9)  # the cut plays no part
    answers = [chat.encode_example(tokenizer, one["messages"])[1][:-1] for one in rows]
    assert of(facts, "rus_Cyrl")["tokens_per_word"] == len(answers[0]) / 4
    assert of(facts, "eng_Latn") == {"tokens_per_word": (len(answers[1]) + len(answers[3])) / 5}
    assert of(facts, "tha_Thai")["tokens_per_character"] == len(answers[2]) / len("แมวนั่ง")
    assert "tokens_per_word" not in of(facts, "tha_Thai")
    assert of(facts, "swh_Latn")["tokens_per_word"] == "n/a: no answer is in this language"


MARKS = ("rows_without_bos", "rows_bos_within", "rows_without_eos", "rows_turn_lost")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (PLAIN, [0, 0, 0, 0]),
        (TURNS, [0, 0, 0, 0]),
        ("{{ bos_token }}" + PLAIN, [0, 2, 0, 0]),  # written twice
        (PLAIN.replace("bos_token", "''"), [2, 0, 0, 0]),
        (PLAIN.replace(" + eos_token", ""), [0, 0, 2, 0]),
        (PLAIN.replace("eos_token", "eos_token + 'Ende'"), [0, 0, 2, 0]),  # the last thing learnt is not to stop
        (PLAIN.replace("eos_token", "eos_token + '\n'"), [0, 0, 0, 0]),
        (PLAIN.replace("in messages", "in messages if message.content != 'Hello.'"), [0, 0, 0, 1]),  # forgets what was said before
    ],
)
def test_marks_around_each_row(base: Path, tmp_path: Path, template: str, expected: list[int]) -> None:
    rows = row("deu_Latn", "The cat.", "Die Katze."), row("deu_Latn", "The mat.", "Die Matte.", before=("Hello.", "Hallo."))
    found = of(audited(load(base, template), base, written(tmp_path / "m.parquet", *rows)), "deu_Latn")
    assert [found[name] for name in MARKS] == expected


def test_a_row_with_a_bos_in_its_text_is_left_out_and_counted(base: Path, tmp_path: Path) -> None:
    mixture = written(tmp_path / "m.parquet", row("deu_Latn", "The <bos> cat.", "Die Katze."), row("deu_Latn", "The cat.", "Katze."))
    facts = audited(load(base), base, mixture)
    found = of(facts, "deu_Latn")
    assert [found[name] for name in (*MARKS, "rows_with_marks", "rows_without_target", "rows_dropped")] == [0, 0, 0, 0, 1, 1, 0]


def marked_tokenizer(base: Path, **changes: Any) -> Any:
    """Chat marks in the manner of Qwen's and Llama 3's; `<end>` ends an answer, and is not flagged as special; `<b>` is ordinary."""
    tokenizer = load(base, MARKED, **changes)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start>", "<|eot_id|>"]})
    tokenizer.add_tokens(["<end>", "<b>"])
    return tokenizer


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Die <eos> Katze.", True),
        ("<bos>Katze", True),
        ("Katze<pad>", True),
        ("a<|eot_id|>b", True),
        ("<start>user\nKatze", True),
        ("Katze.<end>", True),
        ("<end>", True),
        ("Die <b>Katze</b>.", False),
        ("Die < eos > Katze, <EOS>, <e os>, <|eot_id |>.", False),
        ("3 < 4 > 2, \n\n, ▁, 猫", False),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_marks_of_the_model_in_any_turn_drop_the_row(base: Path, tmp_path: Path, text: str, marked: bool, place: int) -> None:
    tokenizer = marked_tokenizer(base)
    turns = ["Hello.", "Hallo.", "The cat.", "Die Katze."]
    turns[place] = text
    rows = [row("deu_Latn", *turns[2:], before=tuple(turns[:2])), row("deu_Latn", "The cat.", "Die Katze.")]
    mixture = written(tmp_path / "m.parquet", *rows)
    first, _ = tokens.read(tokenizer, mixture)
    assert first.marked == marked and bool(first.cut(999)) != marked
    trained, facts = train.encode(tokenizer, mixture, 512, "lifted")
    assert len(trained) == 2 - marked
    expected = {"rows": 2, "rows_with_marks": int(marked), "rows_dropped": 0, "rows_truncated": 0}
    for found in (of(facts, "deu_Latn"), of(audited(tokenizer, base, mixture, 512), "deu_Latn")):
        assert {name: found[name] for name in expected} == expected
    ends = tokenizer.convert_tokens_to_ids(["<start>", "<end>", "<|eot_id|>", "<eos>", "<pad>"])
    of_template = [sum(list(ids).count(end) for end in ends) for ids, _ in trained]
    assert of_template == ([4] if marked else [8, 4]), "each turn has one beginning and one end"


def test_ends_that_only_the_generation_config_names_are_marks(base: Path, tmp_path: Path) -> None:
    tokenizer = load(base)
    tokenizer.add_tokens(["<stop>"])
    mixture = written(tmp_path / "m.parquet", row("deu_Latn", "The cat.", "Die<stop>"), row("deu_Latn", "The cat.", "Die Katze."))
    for ends, marked in (((), [False, False]), ({tokenizer.convert_tokens_to_ids("<stop>")}, [True, False])):
        assert [one.marked for one in tokens.read(tokenizer, mixture, ends=ends)] == marked


def test_a_mark_that_is_read_only_after_normalisation_is_found(base: Path) -> None:
    import tokenizers

    tokenizer = load(base)
    tokenizer.add_tokens([tokenizers.AddedToken("<end>", special=True, normalized=True)])
    tokenizer.backend_tokenizer.normalizer = tokenizers.normalizers.Sequence(
        [tokenizers.normalizers.NFKC(), tokenizers.normalizers.Lowercase(), tokenizers.normalizers.Replace(" ", "▁")]
    )
    marks = tokens.Marks(tokenizer)
    assert [marks.inside(text) for text in ("a ＜end＞ b", "<END>", "<e nd>", "＜ end", "ende")] == [True, True, False, False, False]


def test_the_gate_names_rows_with_marks(base: Path, tmp_path: Path) -> None:
    good = [row("deu_Latn", "The cat.", "Die Katze sitzt auf der Matte.")]
    rows = [*good * 99, row("deu_Latn", "<eos>", "Ende."), *good * 9, row("rus_Cyrl", "The cat.", "Кошка.")]
    assert checked(rows, base, tmp_path) == 2
    arguments = ["--tokens", str(tmp_path / "tokens.csv"), "--limits", '{"max_rows_cut": 0.05, "max_rows_without_target": 0.01, '
                 '"min_completion_kept": 0.9}', "--output", str(tmp_path / "passed")]  # fmt: skip
    gate.main(arguments)
    assert "rows left out for a mark of the model in their text: deu_Latn 1" in (tmp_path / "passed").read_text(encoding="utf-8")
    with pytest.raises(
        cli.UserError, match=r"nothing to learn: rus_Cyrl 50.0% .* take the model's own marks out .*\(deu_Latn 1, rus_Cyrl 1\)"
    ):
        checked([*rows, row("rus_Cyrl", "The <bos> cat.", "Кошка.")], base, tmp_path)


def test_one_token_for_beginning_and_end(base: Path, tmp_path: Path) -> None:
    mixture = written(tmp_path / "m.parquet", row("deu_Latn", "The cat.", "Die Katze."))
    for template, within in ((PLAIN, 0), ("{{ bos_token }}" + PLAIN, 1)):
        found = of(audited(load(base, template, bos_token="<eos>"), base, mixture), "deu_Latn")
        assert [found[name] for name in MARKS] == [0, within, 0, 0]


def test_a_tokenizer_without_bos_and_an_end_mark_of_the_generation_config(base: Path, tmp_path: Path) -> None:
    other = tmp_path / "model"
    shutil.copytree(base, other)
    tokenizer = load(other, MARKED)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<start>", "<end>"]})
    tokenizer.bos_token = None
    mixture = written(tmp_path / "m.parquet", row("deu_Latn", "The cat.", "Die Katze."))
    found = of(audited(tokenizer, other, mixture), "deu_Latn")
    assert [found[name] for name in MARKS] == ["n/a: the tokenizer has no BOS"] * 2 + [1, 0]
    settings = files.read_json(other / "generation_config.json")
    ends = [settings["eos_token_id"], tokenizer.convert_tokens_to_ids("<end>")]
    files.write_json(other / "generation_config.json", settings | {"eos_token_id": ends})
    found = of(audited(tokenizer, other, mixture), "deu_Latn")
    assert found["rows_without_eos"] == 0
    assert found["tokens_per_word"] == len(tokenizer("Die Katze.", add_special_tokens=False)["input_ids"]) / 2


def test_a_template_that_refuses_a_row_is_one_clear_message(base: Path, tmp_path: Path) -> None:
    template = "{% if messages|length > 2 %}{{ raise_exception('one turn only') }}{% endif %}" + PLAIN
    mixture = written(tmp_path / "m.parquet", row("deu_Latn", "The mat.", "Matte.", before=("Hello.", "Hallo.")))
    with pytest.raises(cli.UserError, match=r"the chat template refuses a row \(one turn only\)"):
        audited(load(base, template), base, mixture)


def limits(**changes: float) -> dict[str, float]:
    return config.audit({"audit": changes})


def checked(rows: list[dict[str, Any]], base: Path, folder: Path, max_length: int = 64, template: str = PLAIN, **changes: float) -> int:
    """The gate on what the audit wrote, as the rules have it."""
    tokenizer, output = load(base, template), folder / "tokens.csv"
    ledger.write(output, audited(tokenizer, base, written(folder / "m.parquet", *rows), max_length))
    return gate.check(ledger.read(output), limits(**changes))


def test_each_limit_stops_and_names_languages_figures_and_the_way_out(base: Path, tmp_path: Path) -> None:
    good = [row("deu_Latn", "The cat.", "Die Katze sitzt auf der Matte.")] * 19
    cut = [*good, row("deu_Latn", "The cat.", "Die Matte " * 30), row("rus_Cyrl", "The cat.", "Кошка.", target="deu_Latn")]
    assert checked(cut, base, tmp_path, min_completion_kept=0.1) == 2  # one row in twenty
    with pytest.raises(cli.UserError) as error:
        checked(cut, base, tmp_path, min_completion_kept=0.1, max_rows_cut=0.04)
    message = str(error.value)
    assert "lifted is not trained" in message and "rows cut: deu_Latn 5.0% (max_rows_cut: 0.04)" in message
    assert "raise sft.max_length" in message and "kept_out" in message and "rus_Cyrl" not in message and "\n" not in message
    with pytest.raises(cli.UserError, match=r"tokens of answers kept: deu_Latn \d\d\.\d% \(min_completion_kept: 0\.9\)\. To mend"):
        checked(cut, base, tmp_path)
    nothing = [*good, row("deu_Latn", "The cat.", " ")]
    with pytest.raises(cli.UserError, match=r"audit: rows with nothing to learn: deu_Latn 5.0% \(max_rows_without_target: 0.01\)\. To"):
        checked(nothing, base, tmp_path)
    assert checked(nothing, base, tmp_path, max_rows_without_target=0.05) == 1


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ bos_token }}" + PLAIN, "rows with a BOS inside: deu_Latn 2"),
        (PLAIN.replace("bos_token", "''"), "rows that do not begin with a BOS: deu_Latn 2"),
        (PLAIN.replace(" + eos_token", ""), "answers without an end mark: deu_Latn 2"),
    ],
)
def test_marks_that_are_wrong_always_stop(base: Path, tmp_path: Path, template: str, fault: str) -> None:
    rows = [row("deu_Latn", "The cat.", "Die Katze.")] * 2
    generous = {"max_rows_cut": 1.0, "max_rows_without_target": 1.0, "min_completion_kept": 0.0}
    assert checked(rows, base, tmp_path, **generous) == 1
    with pytest.raises(cli.UserError, match=fault) as error:
        checked(rows, base, tmp_path, template=template, **generous)
    assert "chat_template" in str(error.value) and "max_length" not in str(error.value)


def test_of_many_languages_the_worst_are_named(base: Path, tmp_path: Path) -> None:
    codes = [f"{a}{b}a_Latn" for a in "abcd" for b in "wxyz"]
    rows = [row(code, "x", "Matte " * (40 + number)) for number, code in enumerate(codes)]
    with pytest.raises(cli.UserError, match="and 4 more languages") as error:
        checked(rows, base, tmp_path, max_rows_cut=1)
    named = [code for code in codes if f"{code} " in str(error.value)]
    assert named == codes[4:]


@pytest.mark.parametrize("answers", ["all", "last"])
def test_training_counts_the_same_tokens(base: Path, tmp_path: Path, answers: str) -> None:
    """By its own ledger, of more rows than are read at once, some of them cut or dropped."""
    codes = ("deu_Latn", "rus_Cyrl", "zho_Hans")
    texts = ("Die Katze sitzt auf der Matte. ", "Кошка сидит на коврике. ", "猫坐在垫子上。")
    rows = [
        row(codes[i % 3], f"The cat {i} sits. " * (1 + i % 11), texts[i % 3] * (1 + i % 5), before=("Hello.", "Hallo.") * (i % 2))
        for i in range(2 * tokens.BATCH + 7)
    ]
    mixture = written(tmp_path / "m.parquet", *rows)
    _, facts = train.encode(load(base), mixture, 48, "lifted", answers)
    arguments = ["--model", "lifted", "--base-model", str(base), "--mixture", str(mixture), "--max-length", "48", "--answers", answers]
    audit.main([*arguments, "--output", str(tmp_path / "tokens.csv")])
    counted = [fact for fact in ledger.read(tmp_path / "tokens.csv") if fact.measure in tokens.MEASURES]
    assert sorted(counted, key=str) == sorted(facts, key=str) and len(facts) == 3 * len(tokens.MEASURES)
    assert all(of(counted, code)["rows_truncated"] and of(counted, code)["rows_dropped"] for code in codes)
    again = polars.read_parquet(mixture)
    again.write_parquet(mixture, row_group_size=100)
    audit.main([*arguments, "--output", str(tmp_path / "again.csv")])
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "tokens.csv").read_bytes()


def test_many_rows_at_once_are_each_encoded_as_alone(base: Path) -> None:
    """Also where the tokenizer would merge a prompt's end with its answer, and where a tokenizer.json would cut and pad."""
    tokenizer = load(base, "{% for message in messages %}{{ message.content }}{% endfor %}")
    conversations = [
        row("deu_Latn", request, answer)["messages"] for request, answer in (("Di", "e Katze"), ("The ", "Matte"), ("中", "文"))
    ]
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding()
    encoded = chat.encode_examples(tokenizer, chat.example_texts(tokenizer, conversations))
    for turns, (prompt, answer) in zip(conversations, encoded, strict=True):
        assert (prompt, answer) == chat.encode_example(tokenizer, turns)
        assert prompt == chat.encode_prompt(tokenizer, turns[:-1])
        assert tokenizer.decode(prompt + answer) == turns[0]["content"] + turns[1]["content"]


def test_limits_are_checked(tmp_path: Path) -> None:
    assert limits() == config.AUDIT and limits(max_rows_cut=0.2) == config.AUDIT | {"max_rows_cut": 0.2}
    for wrong in ({"max_rows_cut": 5}, {"max_rows": 0.1}):
        with pytest.raises(cli.UserError, match="audit"):
            config.resolve({"recipe": "laptop", "audit": wrong})


def test_the_audit_comes_before_the_first_of_several_trainings(tmp_path: Path) -> None:
    """A model trained on a trained one has that one's tokenizer, which is the base's: no GPU is needed to count its tokens."""
    folder = workspace.copy(tmp_path / "pivotlift")
    sft = config.resolve({"recipe": "laptop"})["models"]["gemma-3-270m-lifted"]["sft"]
    second = {"models": {"second": {"base": "gemma-3-270m-lifted", "mixture": "laptop", "sft": sft}}}
    (folder / "second.yaml").write_text(yaml.safe_dump(second), encoding="utf-8")
    counts = workspace.planned(folder, "results/models/second/tokens.passed", "--configfile", "second.yaml")
    assert counts["token_audit"] == counts["token_gate"] == counts["mixture"] == counts["trimmed_model"] == 1
    assert "trained_model" not in counts and "gate" not in counts
    counts = workspace.planned(folder, "results/models/second/manifest.json", "--configfile", "second.yaml")
    assert counts["token_audit"] == counts["token_gate"] == counts["trained_model"] == 2


TARGET = "results/models/gemma-3-270m-lifted/manifest.json"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow in which all that a trained model needs was made, as far as Snakemake can tell."""
    folder = workspace.copy(tmp_path_factory.mktemp("finished") / "pivotlift")
    for line in workspace.snakemake(folder, TARGET, "--dry-run").splitlines():
        for path in line.strip().removeprefix("output: ").split(", ") if line.strip().startswith("output: ") else ():
            made = folder / path
            made.parent.mkdir(parents=True, exist_ok=True)
            made.mkdir(exist_ok=True) if made.name == "model" else made.touch()
    workspace.snakemake(folder, TARGET, "--touch", "--forceall", "--cores", "1")
    assert workspace.planned(folder, TARGET) == {}
    return folder


def changed(folder: Path, change: dict[str, Any]) -> dict[str, int]:
    """What is planned with a change of the config."""
    (folder / "changed.yaml").write_text(yaml.safe_dump(change), encoding="utf-8")
    return workspace.planned(folder, TARGET, "--configfile", "changed.yaml")


LOOSER = {"audit": {"max_rows_cut": 0.2}}
TRAINING = {"training_settings": 1, "trained_model": 1}


def sft(**settings: Any) -> dict[str, Any]:
    return {"models": {"gemma-3-270m-lifted": {"sft": settings}}}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (LOOSER, {"token_gate": 1}),
        (LOOSER | sft(learning_rate=1e-4), TRAINING | {"token_gate": 1}),
        (sft(max_length=200), TRAINING | {"token_audit": 1, "token_gate": 1}),
        (sft(answers="last"), TRAINING | {"token_audit": 1, "token_gate": 1}),
        ({"decontamination": {"max_contaminated_rows": 3}} | sft(seed=2), TRAINING | {"gate": 1}),
    ],
)
def test_limits_plan_the_gate_and_what_trains_plans_training(finished: Path, change: dict[str, Any], expected: dict[str, int]) -> None:
    assert changed(finished, change) == expected


def test_a_language_that_is_only_scored_plans_no_training(finished: Path) -> None:
    recipe = yaml.safe_load((finished / "recipes/laptop.yaml").read_text(encoding="utf-8"))
    kept_out = {"mixtures": {"laptop": {"kept_out": [*recipe["mixtures"]["laptop"]["kept_out"], "fra_Latn"]}}}
    change = {"languages": [*recipe["languages"], "fra_Latn"]} | kept_out
    assert changed(finished, change) == {"benchmark": 4, "audit": 1}


def test_one_more_set_of_the_harness_is_audited_and_retrains_nothing(finished: Path) -> None:
    """It is read and counted in all languages of the run; a new mixture then has to pass the gate with it, too."""
    (finished / "xnli").mkdir(exist_ok=True)
    sets = {"evaluate": {"harness": {"xnli": {"path": str(finished / "xnli")}}}}
    counting = {"harness_benchmark": 12, "audit": 1}
    assert changed(finished, sets) == counting
    assert changed(finished, {"evaluate": {"harness": {"xnli": {}, "m_arc": {}}}}) == {"harness_benchmark": 24, "audit": 1}
    drawn = {"mixtures": {"laptop": {"seed": 2}}}
    without = changed(finished, drawn)
    assert {"mixture", "audit", "gate", "trained_model"} <= without.keys() and without["audit"] == 1
    assert changed(finished, sets | drawn) == without | counting
    (finished / "changed.yaml").write_text(yaml.safe_dump(sets), encoding="utf-8")
    asked = workspace.snakemake(finished, TARGET, "--configfile", "changed.yaml", "--dry-run", "--printshellcmds")
    assert '"benchmarks": ["messages", "udhr", "udhr-reading", "general", "xnli"]' in asked


def test_text_of_a_set_of_the_harness_can_be_kept_out_of_training(finished: Path) -> None:
    sets = {"evaluate": {"harness": {"xnli": {}}}, "decontamination": {"against": ["messages", "udhr", "udhr-reading", "general", "xnli"]}}
    planned = changed(finished, sets)
    assert planned["harness_benchmark"] == planned["corpus"] == 12 and planned["general"] == 2


def test_changed_code_plans_what_it_is_part_of(finished: Path) -> None:
    for module, expected in (("audit", {"token_audit", "token_gate"}), ("tokens", {"token_audit", "token_gate", *TRAINING})):
        path = finished / f"workflow_scripts/models/{module}.py"
        before = path.read_bytes()
        path.write_bytes(before + b"# changed\n")
        assert set(workspace.planned(finished, TARGET)) == expected, module
        path.write_bytes(before)
