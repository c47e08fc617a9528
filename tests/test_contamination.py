"""Benchmark text is found when hidden by case, punctuation, one changed word or surrounding text, in scripts with and without spaces."""

import random
import unicodedata

import pytest

from tests.workspace import ROOT
from workflow_scripts.benchmarks.material import Material
from workflow_scripts.common import contamination, files
from workflow_scripts.common.contamination import Index, fold
from workflow_scripts.common.text import folded

SETTINGS = {"ngram": 4, "similarity": 0.6}
LINES = {
    "latin": "The committee will publish its final report on the harbour next Tuesday.",
    "thai": "คณะกรรมการจะเผยแพร่รายงานฉบับสุดท้ายเกี่ยวกับท่าเรือในวันอังคารหน้า",
    "chinese": "委员会将于下星期二发布关于港口改建工程的最终调查报告和全部附件资料",
    "arabic": "ستنشر اللجنة تقريرها النهائي عن الميناء يوم الثلاثاء القادم في العاصمة",
    "khmer": "គណៈកម្មាធិការនឹងចេញផ្សាយរបាយការណ៍ចុងក្រោយអំពីកំពង់ផែនៅថ្ងៃអង្គារក្រោយ",
    "tibetan": "ལྷན་ཚོགས་ཀྱིས་རེས་གཟའ་མིག་དམར་རྗེས་མར་གྲུ་ཁའི་སྐོར་གྱི་སྙན་ཞུ་མཐའ་མ་འགྲེམས་སྤེལ་བྱེད་རྒྱུ་རེད།",
}


def matches(lines, texts, settings=SETTINGS):
    """What `Index.find_all` says, by the definition alone: every text against every line, in plain Python."""

    def ngrams(text, size):
        return {text[start : start + size] for start in range(len(text) - size + 1)}

    numbered, wanted = {}, {}
    for label, text in lines:
        if (line := folded(text)) and not line.isdigit():
            numbered.setdefault(line, []).append(label)
            dense = sum("\u3040" <= char <= "\u9fff" or "\uac00" <= char <= "\ud7a3" for char in line) > len(line) / 2
            size = max(2, settings["ngram"] // 2) if dense else settings["ngram"]
            if len(ngrams(line, size)) >= 2 * size:
                wanted[line] = size, ngrams(line, size)
    for text in map(folded, texts):
        parts = [text]
        if len(text) > contamination.LONG:
            half = contamination.LONG // 2
            parts = [text[start : start + 2 * half] for start in range(0, len(text) - half, half)]
        held = {size: [ngrams(part, size) for part in parts] for size, _ in wanted.values()}
        similar = [
            line for line, (size, few) in wanted.items() if any(len(few & part) >= settings["similarity"] * len(few) for part in held[size])
        ]
        yield numbered.get(text, []) + [label for line in similar if line != text for label in numbered[line]]


def agree(lines, texts, settings=SETTINGS):
    """Check the index against the definition; how many texts hold a line."""
    expected = list(matches(lines, texts, settings))
    index = Index(lines, settings)
    assert index.find_all(texts) == expected
    assert index.find(texts) == [labels[0] if labels else None for labels in expected]
    return sum(map(bool, expected))


@pytest.mark.parametrize("script", LINES)
def test_disguises_are_found(script):
    line = LINES[script]
    index = Index([("test", line)], SETTINGS)
    middle = len(line) // 2
    disguises = [line, line.upper(), line.replace(".", " !!"), f"“{line}” — quoted", line[:middle] + "xyz" + line[middle + 3 :]]
    assert index.find(disguises) == ["test"] * len(disguises)


@pytest.mark.parametrize("script", LINES)
def test_other_text_is_not_accused(script):
    index = Index([("test", line) for name, line in LINES.items() if name != script], SETTINGS)
    assert index.find([LINES[script]]) == [None]


def test_a_short_common_phrase_inside_a_test_line_is_not_contamination():
    index = Index([("test", LINES["latin"])], SETTINGS)
    assert index.find(["final report", "The committee", ""]) == [None] * 3


def test_short_lines_match_exactly_only():
    index = Index([("test", "Open file"), ("test", "")], SETTINGS)
    assert index.find(["OPEN FILE!", "Open files", "", "…"]) == ["test", None, None, None]


def test_short_chinese_lines_are_found_with_a_changed_character():
    index = Index([("test", "请先保存您的作品再关闭窗口")], SETTINGS)
    assert index.find(["请先保存你的作品再关闭窗口。", "请先打开您的项目"]) == ["test", None]


def test_other_scripts_in_the_same_index_do_not_hide_chinese():
    english = [("reading", f"Everyone has the right to number {number} of these things") for number in range(50)]
    index = Index([*english, ("test", "请先保存您的作品再关闭窗口")], SETTINGS)
    assert index.find(["请先保存你的作品再关闭窗口。", "everyone has a right to number 7 of these things!"]) == ["test", "reading"]


def test_an_index_without_a_line_finds_nothing():
    assert Index([], SETTINGS).find(["text", ""]) == [None, None]
    assert Index([("test", "short")], SETTINGS).find([LINES["latin"]]) == [None]


def test_a_long_text_is_not_accused_for_holding_common_ngrams_here_and_there():
    generator = random.Random(3)
    syllables = [first + second for first in "bcdfgklmnprst" for second in "aeiou"]
    line = "".join(generator.choices(syllables, k=30))
    text = "".join(generator.choices(syllables, k=20_000))
    wanted, held = ({part[start : start + 4] for start in range(len(part) - 3)} for part in (line, text))
    assert len(wanted & held) > 0.9 * len(wanted)
    index = Index([("test", line)], SETTINGS)
    assert index.find([text, text[:9000] + line + text[9000:]]) == [None, "test"]


def test_a_number_alone_is_no_evidence():
    index = Index([("test", "&1"), ("test", "The year 1948")], SETTINGS)
    assert index.find(["1", "(1)", "&1", "The year 1948"]) == [None, None, None, "test"]
    assert index.find_exact(["1"]) == [[]]


def test_folding_keeps_vowel_signs():
    assert folded("कि") != folded("का")
    assert folded("Ｃａｆé, no. 1!") == folded("CAFÉ NO 1")


def test_many_texts_are_folded_like_one():
    every = [f"a{chr(code)}\u0301 {chr(code)}" for code in range(0x1F000) if unicodedata.category(chr(code)) not in ("Cn", "Lo")]
    texts = ["", *(" ".join(every[start : start + 50]) for start in range(0, len(every), 50)), "\ud800 lone", ""]
    assert fold(texts).strings() == [folded(text) for text in texts]


@pytest.mark.parametrize(
    "settings", [SETTINGS, {"ngram": 2, "similarity": 0.8}, {"ngram": 5, "similarity": 0.25}, {"ngram": 4, "similarity": 1}]
)
def test_random_texts_are_found_exactly_as_defined(settings, monkeypatch):
    """Few letters, so that many n-grams are shared; the limits small, so that every portion is cut."""
    monkeypatch.setattr(contamination, "CHARACTERS", 500)
    monkeypatch.setattr(contamination, "PAIRS", 64)
    monkeypatch.setattr(contamination, "CELLS", 3)
    monkeypatch.setattr(contamination, "LONG", 50)
    monkeypatch.setattr(contamination, "BITS", 7)
    generator = random.Random(7)

    def words(alphabet, longest):
        return "".join(generator.choices(alphabet, k=generator.randint(0, longest)))

    alphabets = ["ab c", "абвгде", "请先保存你的作品", "abc请先保存你的"]
    lines = [(number, words(generator.choice(alphabets), 40)) for number in range(150)]
    texts = [words(generator.choice(alphabets), 60) for _ in range(150)]
    for _, line in lines:
        place = generator.randint(0, len(line))
        texts.append(words(alphabets[0], 20) + line[:place] + generator.choice("xy请") + line[place + 1 :].upper())
    generator.shuffle(texts)
    assert 10 < agree(lines, texts, settings) < len(texts)


@pytest.mark.parametrize("code", ["eng_Latn", "tha_Thai", "zho_Hans", "bod_Tibt"])
def test_real_texts_are_found_exactly_as_defined(code):
    """Lines of FLORES-200, and the lines again with other text around and words changed."""
    path = ROOT.parent / "shared" / "data" / "flores200_dataset.tar.xz"
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the project")
    from workflow_scripts.benchmarks import prepare

    (found,) = prepare.prepare("flores200", [code], Material(path, sums=[files.sha256_file(path)]))
    lines = [item["text"] for item in found["items"]][:160]
    generator = random.Random(code)
    texts = []
    for line in lines[40:100]:
        characters = list(line)
        for place in generator.sample(range(len(line)), int(generator.random() * len(line) / 3)):
            characters[place] = generator.choice(line)
        texts.append("".join(characters))
    texts += [first + second[: len(second) // 2] for first, second in zip(lines[100:140], lines[120:160], strict=True)]
    assert agree([*enumerate(lines[:120])], texts) > 20


def test_a_line_of_a_passage_is_found_by_the_passage_and_a_short_answer_is_no_evidence(tmp_path):
    """BELEBELE's passages are lines of FLORES. The script has no spaces between words, and none at a sentence's end here."""
    lines = [LINES["thai"], "เจ้าหน้าที่กล่าวว่าเรือทุกลำต้องจอดรออยู่นอกอ่าวจนกว่าพายุจะสงบลง", "ชาวประมงหลายคนเลือกกลับบ้านก่อนเพราะคลื่นสูงมากเกินไปในฤดูนี้"]
    item = {
        "item": "link#1",
        "flores_passage": "".join(lines),
        "question": "What does the text say?",
        "mc_answer1": "Chinese",
        "mc_answer2": LINES["latin"],
    }
    files.write_json(tmp_path / "tha_Thai.json", {"benchmark": "reading", "language": "tha_Thai", "items": [item]})
    found = contamination.benchmark_lines([tmp_path / "tha_Thai.json"])
    assert {line[:-1] for line in found} == {("reading", "tha_Thai", "devtest", "link#1")}
    index = Index(((line.item, line.text) for line in found), SETTINGS)
    assert index.find(["Chinese", "What does the text say?", LINES["latin"]]) == [None, None, "link#1"]
    assert index.find([*lines, "".join(lines), "เรือลำนี้สวยมากและราคาไม่แพงสำหรับครอบครัวใหญ่"]) == ["link#1"] * 4 + [None]
    assert Index([("whole", "".join(lines))], SETTINGS).find(lines) == [None] * 3
