"""Benchmark text is found when hidden by case, punctuation, one changed word or surrounding text, in scripts with and without spaces."""

import pytest

from workflow_scripts.common.contamination import Index
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


@pytest.mark.parametrize("script", LINES)
def test_disguises_are_found(script):
    line = LINES[script]
    index = Index([("test", line)], SETTINGS)
    middle = len(line) // 2
    disguises = [line, line.upper(), line.replace(".", " !!"), f"“{line}” — quoted", line[:middle] + "xyz" + line[middle + 3 :]]
    assert [index.find(text) for text in disguises] == ["test"] * len(disguises)


@pytest.mark.parametrize("script", LINES)
def test_other_text_is_not_accused(script):
    index = Index([("test", line) for name, line in LINES.items() if name != script], SETTINGS)
    assert index.find(LINES[script]) is None


def test_a_short_common_phrase_inside_a_test_line_is_not_contamination():
    index = Index([("test", LINES["latin"])], SETTINGS)
    assert index.find("final report") is None
    assert index.find("The committee") is None


def test_short_lines_match_exactly_only():
    index = Index([("test", "Open file")], SETTINGS)
    assert index.find("OPEN FILE!") == "test"
    assert index.find("Open files") is None


def test_short_chinese_lines_are_found_with_a_changed_character():
    index = Index([("test", "请先保存您的作品再关闭窗口")], SETTINGS)
    assert index.find("请先保存你的作品再关闭窗口。") == "test"
    assert index.find("请先打开您的项目") is None


def test_other_scripts_in_the_same_index_do_not_hide_chinese():
    english = [("reading", f"Everyone has the right to number {number} of these things") for number in range(50)]
    index = Index([*english, ("test", "请先保存您的作品再关闭窗口")], SETTINGS)
    assert index.find("请先保存你的作品再关闭窗口。") == "test"
    assert index.find("everyone has a right to number 7 of these things!") == "reading"


def test_folding_keeps_vowel_signs():
    assert folded("कि") != folded("का")
    assert folded("Ｃａｆé, no. 1!") == folded("CAFÉ NO 1")
