"""Official layouts are read exactly, from folders and archives, one language or many in one pass; what is damaged is refused."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tests.workspace import ROOT
from workflow_scripts.benchmarks import prepare, sources
from workflow_scripts.benchmarks.material import Material
from workflow_scripts.common import archives, files, languages, tables
from workflow_scripts.common.cli import UserError

SHARED = ROOT.parent / "shared" / "data"


def shared(name):
    """A repacked archive of real data, with its own sum accepted; or skip."""
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not beside the project")
    return Material(path, sums=[files.sha256_file(path)])


def one(benchmark, language, path):
    (found,) = prepare.prepare(benchmark, [language], path if isinstance(path, Material) else Material(path))
    return found


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def numbered(code, count):
    return "".join(f"{code} line {n}\n" for n in range(count))


def flores_folder(tmp_path, codes=("deu_Latn", "eng_Latn"), lines=1012):
    folder = tmp_path / "flores200_dataset"
    for split, count in (("dev", 997), ("devtest", lines)):
        for code in codes:
            write(folder / split / f"{code}.{split}", numbered(f"{code} {split}", count))
    return folder


def packed(folder, archive, mode="w:gz"):
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, f"./{folder.name}")
    return Material(archive, sums=[files.sha256_file(archive)])


# Lines, FLORES-200 and -101


def test_flores_layout(tmp_path):
    found = one("flores200", "deu_Latn", flores_folder(tmp_path))
    assert Counter(item["split"] for item in found["items"]) == {"dev": 997, "devtest": 1012}
    assert found["items"][-1] == {"split": "devtest", "item": 1011, "text": "deu_Latn devtest line 1011"}


def test_flores101_has_its_own_codes(tmp_path):
    folder = flores_folder(tmp_path, ("zho_simpl", "eng"))
    assert one("flores101", "zho_Hans", folder)["items"][0]["text"] == "zho_simpl dev line 0"
    assert one("flores101", "ace_Latn", folder)["reason"] == "n/a: not in flores101"


def test_a_language_that_is_not_there_gets_a_reason(tmp_path):
    found = one("flores200", "zul_Latn", flores_folder(tmp_path))
    assert found["items"] == [] and found["reason"] == "n/a: not in flores200"


def test_a_separator_of_unicode_does_not_end_a_line(tmp_path):
    folder = flores_folder(tmp_path)
    path = folder / "devtest/deu_Latn.devtest"
    path.write_text(path.read_text().replace("line 5\n", "line\u2028five\x85\n"), encoding="utf-8")
    assert one("flores200", "deu_Latn", folder)["items"][997 + 5]["text"] == "deu_Latn devtest line\u2028five"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.write_text(numbered("x", 1011)), r"deu_Latn\.devtest has 1011 lines, but flores200 has 1012"),
        (lambda path: path.write_text(numbered("x", 1012).replace("x line 5\n", " \n")), "line 6 is empty"),
        (lambda path: path.write_bytes(b"\xff\n" * 1012), "is not UTF-8"),
        (lambda path: path.unlink(), r"deu_Latn\.dev is there, but its test split is not"),
    ],
)
def test_damaged_flores_is_refused(tmp_path, change, message):
    folder = flores_folder(tmp_path)
    change(folder / "devtest/deu_Latn.devtest")
    with pytest.raises(UserError, match=message):
        one("flores200", "deu_Latn", folder)


def test_a_folder_of_another_layout_is_named(tmp_path):
    with pytest.raises(UserError, match=r"has no file of flores101 \(dev/<code>.dev or devtest/<code>.devtest\). Set `path`"):
        one("flores101", "deu_Latn", flores_folder(tmp_path))
    with pytest.raises(UserError, match=r"does not exist\. Set `path`"):
        one("flores101", "deu_Latn", tmp_path / "nowhere")


# Archives


def test_an_archive_that_is_not_the_official_one_is_refused_unless_its_own_sum_is_given(tmp_path):
    own = packed(flores_folder(tmp_path), tmp_path / "flores.tar.gz")
    official = tables.row("benchmarks", "flores200")["sha256"]
    with pytest.raises(UserError, match=rf"not the official archive of flores200: its SHA-256 is {own.sums[0]}, expected {official}"):
        one("flores200", "deu_Latn", own.path)
    assert len(one("flores200", "deu_Latn", own)["items"]) == 2009


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_truncated_archive_is_one_clear_error(tmp_path, mode):
    whole = packed(flores_folder(tmp_path), tmp_path / "flores.tar", mode)
    whole.path.write_bytes(whole.path.read_bytes()[:-2000])
    with pytest.raises(UserError, match="truncated or broken"):
        one("flores200", "deu_Latn", Material(whole.path, sums=[files.sha256_file(whole.path)]))


def test_many_languages_at_once_equal_single_ones_byte_for_byte(tmp_path):
    own = packed(flores_folder(tmp_path), tmp_path / "flores.tar.gz")
    common = ["--benchmark", "flores200", "--material", str(own.path), "--sha256", *own.sums]
    prepare.main([*common, "--languages", "zul_Latn", "eng_Latn", "deu_Latn", "--output-folder", str(tmp_path / "many")])
    for language in ("deu_Latn", "eng_Latn", "zul_Latn"):
        prepare.main([*common, "--language", language, "--output", str(tmp_path / "one.json")])
        assert (tmp_path / "one.json").read_bytes() == (tmp_path / f"many/{language}.json").read_bytes()
    assert len(list((tmp_path / "many").iterdir())) == 3


@pytest.mark.parametrize("arguments", [["--language", "deu_Latn"], ["--languages", "deu_Latn", "--output", "x"], []])
def test_half_a_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        prepare.main(["--benchmark", "udhr", "--material", "x", *arguments])
    assert "--languages with --output-folder" in capsys.readouterr().err


def test_all_of_the_real_flores_archive_in_one_pass(monkeypatch):
    passes = []
    members = archives.members
    monkeypatch.setattr(archives, "members", lambda *arguments: passes.append(1) or members(*arguments))
    found = {
        each["language"]: each["items"]
        for each in prepare.prepare("flores200", list(languages.registry()), shared("flores200_dataset.tar.xz"))
    }
    assert passes == [1] and set(found) == set(languages.registry())
    counts = Counter(Counter(item["split"] for item in items)["devtest"] for items in found.values())
    assert counts == Counter({1012: 204, 0: len(found) - 204})  # what the table has beyond FLORES-200 has a reason instead


# Files that hold the rows of a hub, FLORES+


def plus_folder(tmp_path, form="jsonl", version="4.2", change=lambda rows: rows):
    """Two varieties of Twi and English; the rows are not in the order of their ids."""
    folder = tmp_path / "flores_plus"
    for code in ("twi_Latn_asan1239", "twi_Latn_akua1239", "eng_Latn"):
        for split, count in (("dev", 997), ("devtest", 1012)):
            rows = [{"id": n, "text": f"{code} {n}\u2028", "last_updated": "1.0"} for n in reversed(range(count))]
            rows = change(rows) if split == "devtest" else rows
            if form == "jsonl":
                write(folder / f"{split}/{code}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            else:
                (folder / split).mkdir(parents=True, exist_ok=True)
                pl.DataFrame(rows).write_parquet(folder / f"{split}/{code}.parquet")
    write(folder / "CHANGELOG.md", f"# Changelog\n\nOn versions.\n\n## [{version}] – 2025-08-01\n\n## [1.0] - 2023\n")
    return folder


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_flores_plus_knows_renamed_codes_varieties_and_its_version(tmp_path, form):
    folder = plus_folder(tmp_path, form)
    asante, akuapem = (one("flores-plus", code, folder) for code in ("aka_Latn", "twi_Latn"))
    assert asante["version"] == "4.2" and len(asante["items"]) == 2009
    assert asante["items"][-1] == {"split": "devtest", "item": 1011, "text": "twi_Latn_asan1239 1011"}
    assert akuapem["items"][0]["text"] == "twi_Latn_akua1239 0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [*rows[:-1], rows[0]], "the id 1011 is there twice"),
        (lambda rows: rows[1:], "has 1011 lines, but flores-plus has 1012"),
        (lambda rows: [{"id": 1}, *rows[1:]], "row 1 has no `id` with a `text`"),
    ],
)
def test_damaged_flores_plus_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        one("flores-plus", "eng_Latn", plus_folder(tmp_path, change=change))


def test_another_major_version_of_flores_plus_is_refused(tmp_path):
    folder = plus_folder(tmp_path, version="5.0")
    with pytest.raises(UserError, match=r"names version 5\.0, but flores-plus stands for 4"):
        one("flores-plus", "eng_Latn", folder)
    (folder / "CHANGELOG.md").unlink()
    with pytest.raises(UserError, match="the version is not known"):
        one("flores-plus", "eng_Latn", folder)


def test_damaged_files_of_rows_are_refused(tmp_path):
    folder = plus_folder(tmp_path, "parquet")
    whole = (folder / "devtest/eng_Latn.parquet").read_bytes()
    (folder / "devtest/eng_Latn.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="is not a whole Parquet file"):
        one("flores-plus", "eng_Latn", folder)
    write(folder / "devtest/eng_Latn.jsonl", '{"id": 1, "te')
    with pytest.raises(UserError, match="line 1 is not JSON"):
        one("flores-plus", "eng_Latn", folder)


# NTREX-128 and WMT22


def test_ntrex_reads_english_from_the_source_file(tmp_path):
    for name in ("ref.zho-CN", "ref.eng-GB", "src.eng"):
        write(tmp_path / f"NTREX-128/newstest2019-{name}.txt", numbered(name, 1997))
    found = {each["language"]: each for each in prepare.prepare("ntrex128", ["eng_Latn", "zho_Hans", "nso_Latn"], Material(tmp_path))}
    assert found["eng_Latn"]["items"][1996]["text"] == "src.eng line 1996"
    assert found["zho_Hans"]["items"][0] == {"split": "devtest", "item": 0, "text": "ref.zho-CN line 0"}
    assert found["nso_Latn"]["reason"] == "n/a: not in ntrex128"


@pytest.mark.parametrize(("direction", "items"), [("en-zh", 2037), ("zh-en", 1875), ("en-de", 2037), ("de-en", 1984)])
def test_real_wmt22_is_one_benchmark_a_direction(direction, items):
    other = {"zh": "zho_Hans", "de": "deu_Latn"}[direction.replace("en", "").strip("-")]
    absent = {"zho_Hans": "deu_Latn", "deu_Latn": "zho_Hans"}[other]
    found = {each["language"]: each for each in prepare.prepare(f"wmt22-{direction}", ["eng_Latn", other, absent], shared("wmt22.tar.xz"))}
    assert len(found["eng_Latn"]["items"]) == len(found[other]["items"]) == items
    assert found[absent]["reason"] == f"n/a: not in wmt22-{direction}"


# TICO-19

TICO = ("sourceLang", "targetLang", "sourceString", "targetString", "stringID", "url", "license", "translatorId")


def tico_folder(tmp_path, change=lambda lines: lines):
    """Two languages; a text with quotation marks as an export to CSV leaves it, and one that is a quotation."""
    for code, doubled in (("am", True), ("zu", False)):
        for split, count in (("dev", 971), ("test", 2100)):
            texts = [f'{code} says "{n}"' if n == 1 else f'"{code} {n}"' if n == 2 else f"{code} {n}" for n in range(count)]
            exported = ['"' + text.replace('"', '""') + '"' if doubled and n == 1 else text for n, text in enumerate(texts)]
            lines = [("en", code, f"English {n}", text, f"PubMed_{split}:{n}", "u", "l", "t") for n, text in enumerate(exported)]
            cells = [TICO, *(change(lines) if split == "test" else lines)]
            write(tmp_path / f"tico19-testset/{split}/{split}.en-{code}.tsv", "".join("\t".join(row) + "\n" for row in cells))
    return tmp_path


def test_tico_is_joined_by_string_id(tmp_path):
    amharic, zulu, english = prepare.prepare("tico19", ["amh_Ethi", "zul_Latn", "eng_Latn"], Material(tico_folder(tmp_path)))
    assert Counter(item["split"] for item in english["items"]) == {"dev": 971, "devtest": 2100}
    assert [item["item"] for item in english["items"]] == [item["item"] for item in zulu["items"]]
    assert english["items"][971] == {"split": "devtest", "item": "PubMed_test:0", "text": "English 0"}
    assert [item["text"] for item in amharic["items"][971:974]] == ["am 0", 'am says "1"', '"am 2"']


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [*lines[:9], lines[9][:-1], *lines[10:]], r"test.en-zu.tsv: line 11 has 7 columns, but the first line has 8"),
        (lambda lines: lines[1:], "has 2099 sentences, but tico19 has 2100"),
        (lambda lines: [*lines[:-1], lines[0]], "line 2101 is empty or has the stringID of another line, PubMed_test:0"),
    ],
)
def test_damaged_tico_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        one("tico19", "zul_Latn", tico_folder(tmp_path, change))


def test_tico_without_its_header_is_refused(tmp_path):
    path = tico_folder(tmp_path) / "tico19-testset/test/test.en-zu.tsv"
    path.write_text(path.read_text().split("\n", 1)[1])
    with pytest.raises(UserError, match="first line does not name the columns targetString and stringID"):
        one("tico19", "zul_Latn", tmp_path)


# BELEBELE


def test_real_belebele_joins_by_key_not_by_line():
    english, dutch = (found["items"] for found in prepare.prepare("belebele", ["eng_Latn", "nld_Latn"], shared("belebele.tar.xz")))
    assert [item["item"] for item in english] == [item["item"] for item in dutch]
    assert [item["correct_answer_num"] for item in english] == [item["correct_answer_num"] for item in dutch]
    assert Counter(item["correct_answer_num"] for item in english) == {"1": 206, "2": 251, "3": 246, "4": 197}


def belebele_rows():
    entry = {"flores_passage": "p\u2028q", "question": "q", "dialect": "deu_Latn", "ds": "2023-05-03", "correct_answer_num": "2"}
    entry |= {f"mc_answer{number}": f"a{number} " for number in range(1, 5)}
    return [entry | {"link": f"https://x/{number // 2}", "question_number": 1 + number % 2} for number in range(900)]


def belebele_folder(tmp_path, change=lambda items: items, code="deu_Latn"):
    lines = (json.dumps(item) + "\n" for item in change(belebele_rows()))
    write(tmp_path / f"Belebele/{code}.jsonl", "".join(lines))
    return tmp_path / "Belebele"


def test_belebele_layout(tmp_path):
    found = one("belebele", "deu_Latn", belebele_folder(tmp_path))
    assert len(found["items"]) == 900 and found["items"][0]["mc_answer1"] == "a1 "  # as it is published


@pytest.mark.parametrize("name", ["deu_Latn.parquet", "deu_Latn/test/0000.parquet", "deu_Latn/test-00000-of-00001.parquet"])
def test_belebele_from_the_hub(tmp_path, name):
    table = io.BytesIO()
    pl.DataFrame(belebele_rows()).write_parquet(table)
    (tmp_path / "hub" / name).parent.mkdir(parents=True)
    (tmp_path / "hub" / name).write_bytes(table.getvalue())
    assert one("belebele", "deu_Latn", tmp_path / "hub") == one("belebele", "deu_Latn", belebele_folder(tmp_path))


def test_all_122_variants_have_a_benchmark(tmp_path):
    folder = belebele_folder(tmp_path, code="hin_Latn")
    assert len(one("belebele-romanised", "hin_Deva", folder)["items"]) == 900
    rows = languages.registry().values()
    assert len({row.belebele for row in rows} | {row.belebele_latn for row in rows}) - 1 == 122


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda items: items[:-1], "has 899 questions, but belebele has 900"),
        (lambda items: [*items[:-1], items[0]], "is there twice"),
        (lambda items: [items[0] | {"correct_answer_num": "5"}, *items[1:]], "has the answer 5"),
        (lambda items: [{"link": "x"}, *items[1:]], "line 1 is not a BELEBELE item"),
        (lambda items: [items[0] | {"question": None}, *items[1:]], "line 1 is not a BELEBELE item.*question is not a text"),
        (lambda items: ["text", *items[1:]], "line 1 is not a JSON object"),
        (lambda items: [items[0] | {"flores_passage": " "}, *items[1:]], r"deu_Latn\.jsonl: line 1 has an empty flores_passage"),
        (lambda items: [*items[:8], items[8] | {"mc_answer3": ""}, *items[9:]], "line 9 has an empty mc_answer3"),
        (
            lambda items: [*items[:2], *(item | {"mc_answer4": "a1"} for item in items[2:8]), *items[8:]],
            "6 questions have two equal options .line 3, 4, 5, 6, 7, 8",
        ),
        (lambda items: [items[0] | {"question": "\ud83d"}, *items[1:]], "line 1: a text holds half a character"),
    ],
)
def test_damaged_belebele_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        one("belebele", "deu_Latn", belebele_folder(tmp_path, change))


# What editors and exports leave in files

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "change",
    [
        lambda whole: BOM + whole,
        lambda whole: whole + b"\n",
        lambda whole: whole + b"\r\n \n\n",
        lambda whole: whole.rstrip(b"\n"),
        lambda whole: BOM + whole.replace(b"\n", b"\r\n"),
    ],
)
def test_a_byte_order_mark_and_empty_lines_at_the_end_change_nothing(tmp_path, change):
    folders = {"flores200": flores_folder(tmp_path), "belebele": belebele_folder(tmp_path), "flores-plus": plus_folder(tmp_path)}
    names = {"flores200": "devtest/eng_Latn.devtest", "belebele": "deu_Latn.jsonl", "flores-plus": "devtest/eng_Latn.jsonl"}
    for benchmark, folder in folders.items():
        language = "deu_Latn" if benchmark == "belebele" else "eng_Latn"
        before = one(benchmark, language, folder)
        path = folder / names[benchmark]
        path.write_bytes(change(path.read_bytes()))
        assert one(benchmark, language, folder) == before, benchmark


def test_empty_lines_inside_belong_to_no_row_but_are_a_sentence_that_is_missing(tmp_path):
    folder = belebele_folder(tmp_path)
    path = folder / "deu_Latn.jsonl"
    before = one("belebele", "deu_Latn", folder)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 5))
    assert one("belebele", "deu_Latn", folder) == before
    path.write_bytes(path.read_bytes() + b"{")
    with pytest.raises(UserError, match=r"deu_Latn\.jsonl: line 906 is not JSON"):
        one("belebele", "deu_Latn", folder)
    path = flores_folder(tmp_path) / "devtest/deu_Latn.devtest"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n\n", 1))
    with pytest.raises(UserError, match="line 2 is empty"):
        one("flores200", "deu_Latn", path.parents[1])
    path.write_bytes(path.read_bytes().decode().encode("utf-16-le"))
    with pytest.raises(UserError, match="line 1 holds a NUL byte"):
        one("flores200", "deu_Latn", path.parents[1])


def test_two_different_files_of_one_language_are_named_and_equal_ones_are_fine(tmp_path):
    folder = flores_folder(tmp_path)
    whole, backup = folder / "devtest/deu_Latn.devtest", folder / "old/devtest/deu_Latn.devtest"
    write(backup, whole.read_text(encoding="utf-8"))
    assert len(one("flores200", "deu_Latn", folder)["items"]) == 2009
    backup.write_text("other\n", encoding="utf-8")
    with pytest.raises(UserError, match=rf"two different files of flores200 for one language, {whole} and {backup}"):
        one("flores200", "deu_Latn", folder)
    assert len(one("flores200", "eng_Latn", folder)["items"]) == 2009
    with pytest.raises(UserError, match=r"two different files .*deu_Latn\.devtest: leave one of them there"):
        one("flores200", "deu_Latn", packed(folder, tmp_path / "both.tar.gz"))


def test_the_root_of_wmt22s_repository_says_which_folder_to_set(tmp_path):
    for edition in ("txt", "txt-ts"):
        for kind, language in (("sources", "src.en"), ("references", "ref.A.de")):
            write(tmp_path / f"wmt22/{edition}/{kind}/generaltest2022.en-de.{language}", numbered(edition, 2037))
    with pytest.raises(UserError, match=rf"set `path` to the right one of {tmp_path}/wmt22/txt-ts and {tmp_path}/wmt22/txt\."):
        one("wmt22-en-de", "deu_Latn", tmp_path / "wmt22")
    assert len(one("wmt22-en-de", "deu_Latn", tmp_path / "wmt22/txt")["items"]) == 2037


def test_official_belebele_has_questions_with_equal_options_and_is_taken(capsys):
    material = shared("belebele.tar.xz")
    languages_there = ["eng_Latn", "zsm_Latn", "nld_Latn"]
    found = list(prepare.prepare("belebele", languages_there, material))
    assert [len(one["items"]) for one in found] == [900] * 3
    assert "zsm_Latn.jsonl: two equal options in line 402, 529, 780" in capsys.readouterr().out


# What a rule declares as inputs


def test_the_files_of_a_language_are_named(tmp_path):
    flores, belebele = flores_folder(tmp_path), belebele_folder(tmp_path, code="eng_Latn")
    named = {
        benchmark: [str(Path(name).relative_to(tmp_path)) for name in sources.inputs(Material(folder, belebele), benchmark, language)]
        for benchmark, folder, language in (
            ("flores200", flores, "deu_Latn"),
            ("belebele-flores", flores, "deu_Latn"),
            ("flores-plus", plus_folder(tmp_path), "twi_Latn"),
            ("tico19", tico_folder(tmp_path), "eng_Latn"),
        )
    }
    assert named["flores200"] == ["flores200_dataset/dev/deu_Latn.dev", "flores200_dataset/devtest/deu_Latn.devtest"]
    assert named["belebele-flores"][0] == "Belebele/eng_Latn.jsonl" and len(named["belebele-flores"]) == 5
    assert [Path(name).name for name in named["flores-plus"]] == ["twi_Latn_akua1239.jsonl", "twi_Latn_akua1239.jsonl", "CHANGELOG.md"]
    assert len(named["tico19"]) == 4
    assert sources.inputs(Material(tmp_path / "an.archive"), "flores200", "deu_Latn") == []
    both = Material(tmp_path / "an.archive", tmp_path / "Belebele.zip")
    assert sources.inputs(both, "belebele-flores", "deu_Latn") == [str(both.belebele)]


def test_every_row_has_a_source_and_a_layout_that_it_reads():
    for name, row in tables.read("benchmarks").items():
        assert row["source"] in sources.SOURCES, name
        assert bool(row["test"]) == bool(row["codes"]), name
        assert row["codes"] == "" or any(getattr(language, row["codes"]) for language in languages.registry().values()), name
