"""Every mistake in a config is one clear message before anything runs; every shipped recipe is right."""

import copy

import pytest
import yaml

from workflow_scripts.common import config, tables
from workflow_scripts.common.cli import UserError

RECIPES = sorted(path.stem for path in (tables.ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def laptop():
    return yaml.safe_load((tables.ROOT / "recipes/laptop.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_shipped_recipes_are_valid(recipe):
    assert config.resolve({"recipe": recipe})["languages"]


def test_config_yaml_names_a_recipe_and_is_valid():
    shipped = yaml.safe_load((tables.ROOT / "config.yaml").read_text(encoding="utf-8"))
    assert config.resolve(shipped) == config.resolve({"recipe": "laptop"})


def test_overrides_merge_by_key_and_lists_are_replaced():
    merged = config.resolve({"recipe": "laptop", "evaluate": {"metrics": ["chrF++"], "benchmarks": {"udhr-reading": {"limit": 3}}}})
    assert merged["evaluate"]["metrics"] == ["chrF++"]
    assert merged["evaluate"]["benchmarks"]["udhr-reading"] == {"limit": 3}
    assert merged["evaluate"]["benchmarks"]["udhr"]["limit"]


def test_a_mapping_over_a_list_of_names_adds_to_it():
    merged = config.resolve({"recipe": "laptop", "corpora": {"django": None, "nllb-seed": {"path": "/"}}})
    assert merged["corpora"] == {"scratch-l10n": {}, "cldr-annotations": {}, "nllb-seed": {"path": "/"}}
    assert config.corpora_of(merged, "deu_Latn")[0] == ["scratch-l10n.parquet", "cldr-annotations.parquet", "nllb-seed.parquet"]


def test_null_removes_a_key():
    assert config.merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}) == {"a": {"c": 2}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"langauges": ["deu_Latn"]}, "langauges"),
        ({"evaluate": {"metrics": ["chrf"]}}, "chrF++ must be among them"),
        ({"evaluate": {"metrics": ["BLEU"]}}, "chrF++ must be among them"),
        ({"evaluate": {"significance": "randomization"}}, "evaluate.significance"),
        ({"reports": {"correction": "bonferroni"}}, "reports.correction"),
        ({"models": {"gemma-3-270m": {"chat_template": "plane"}}}, "there is no resources/chat_templates/plane.jinja"),
        ({"pivots": ["eng_Latn"], "mixtures": {"laptop": {"shares": {"zho_Hans": None, "eng_Latn": 0.08}}}}, "zho is none of the pivots"),
        ({"languages": ["eng_Latn", "zho_Hans"]}, "trim.languages needs deu_Latn"),
        ({"languages": ["eng_Latn", "zho_Hans", "deu_Latin"]}, "deu_Latin"),
        ({"languages": ["eng_Latn", "zho_Hans", "ger_Latn"]}, "ger_Latn is not in resources/languages.tsv. Did you mean"),
        ({"languages": ["eng_Latn", "deu_Latn"]}, "the pivot zho_Hans must also be one of `languages`"),
        ({"corpora": ["scratch"]}, "Did you mean scratch-l10n"),
        ({"corpora": {"nllb-seed": {}}}, "nllb-seed has no package. Name its file, archive or folder: {nllb-seed: {path: ...}}"),
        ({"corpora": {"nllb-seed": {"path": "/no/such"}}}, "corpora.nllb-seed.path: /no/such is not there"),
        ({"corpora": {"nllb-seed": {"path": "/no/such/{code}"}}}, "no source for any language of the config; looked for /no/such/{code}"),
        ({"corpora": {"scratch-l10n": {"share": 0.5}}}, "a benchmark is drawn from the whole of scratch-l10n"),
        ({"corpora": {"nllb-seed": {"paht": "/no/such"}}}, "corpora"),
        ({"instructions": {"general": {"sets": {"alpaca-en-demo": {"path": "/no/such"}}}}}, "alpaca-en-demo.path: /no/such is not there"),
        ({"recipe": "laptpo"}, "there is no recipe laptpo. Choose one of"),
        (
            {"models": {"m": {"base": "nobody", "trim": {"languages": ["deu_Latn"], "keep_ids_below": 1}}}},
            "there is no model nobody",
        ),
        ({"models": {"m": {"hub": "a/b", "licence": "x"}}}, "models.m"),
        ({"models": {"m": {"path": "no/such/folder", "licence": "x", "parameters": 1}}}, "no/such/folder is not a folder"),
        ({"mixtures": {"laptop": {"shares": {"eng_Latn": 0.9}}}}, "add up to"),
        ({"mixtures": {"laptop": {"shares": {"deu_Latn": 0.0}}}}, "deu_Latn is none of"),
        ({"evaluate": {"models": ["gemma"]}}, "there is no model gemma. Known"),
        (
            {"evaluate": {"benchmarks": {"flores200": {"directions": ["X-eng"], "shots": [0], "max_new_tokens": 9}}}},
            "official layout",
        ),
        ({"evaluate": {"benchmarks": {"udhr": {"protocols": ["chat"]}}}}, "only multiple choice has protocols"),
        ({"evaluate": {"benchmarks": {"udhr-reading": {"protocols": ["chat"]}}}}, "udhr-reading needs max_new_tokens"),
        ({"evaluate": {"benchmarks": {"udhr-reading": {"protocols": ["harness"], "shots": [0]}}}}, "only letters takes examples"),
        ({"decontamination": {"against": ["belebele"]}}, "belebele must also be one of evaluate.benchmarks"),
        ({"cleaning": [{"filter": "lenght", "min": 1, "max": 2}]}, "A filter is one of"),
        ({"corpora": ["django"]}, "held out from the corpus scratch-l10n"),
        (
            {"models": {"gemma-3-270m": {"package": ["gemma-270m-gguf"]}}},
            "gemma-270m-gguf is not in resources/packages.tsv. Did you mean",
        ),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(UserError) as caught:
        config.resolve({"recipe": "laptop"} | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_models_in_a_circle(laptop):
    trim = {"languages": ["deu_Latn"], "keep_ids_below": 1}
    laptop["models"] |= {"a": {"base": "b", "trim": trim}, "b": {"base": "a", "trim": trim}}
    with pytest.raises(UserError, match="goes round in a circle"):
        config.resolve(laptop)


def test_baseline_is_the_nearest_evaluated_ancestor(laptop):
    assert config.baseline(laptop, "gemma-3-270m-lifted") == "gemma-3-270m-trimmed"
    laptop = copy.deepcopy(laptop)
    laptop["evaluate"]["models"] = ["gemma-3-270m", "gemma-3-270m-lifted"]
    assert config.baseline(laptop, "gemma-3-270m-lifted") == "gemma-3-270m"
    assert config.baseline(laptop, "gemma-3-270m") is None


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("corpora", "x\tp\tjson_keys\t*.json\t\tscratch\t\tmessages\tsomebody", "licence"),
        ("packages", "x\tpypi\tx\t\twheel\t" + "0" * 64 + "\t\tMIT\t", "version"),
        ("packages", "x\turl\tftp://x/y\t1\tfile\t" + "0" * 64 + "\t1\tMIT\t", "name"),
        ("packages", "x\tnpm\tx\t1\ttgz\tabc\t\tMIT\t", "sha256"),
        ("corpora", "x\tp\tjson_keys", "3 cells, but the header has 9"),
    ],
)
def test_bad_rows_are_named(tmp_path, table, row, message):
    header = (tables.RESOURCES / f"{table}.tsv").read_text(encoding="utf-8").split("\n")[0]
    (tmp_path / f"{table}.tsv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        tables.read(table, tmp_path)
    assert f"{table}.tsv line 2" in str(caught.value)
