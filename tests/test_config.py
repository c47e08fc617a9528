"""Every mistake in a config is one clear message before anything runs; every shipped recipe is right."""

import copy
import math
import re

import pytest
import yaml

from workflow_scripts.common import config, tables
from workflow_scripts.common.cli import UserError

RECIPES = sorted(path.stem for path in (tables.ROOT / "recipes").glob("*.yaml"))


@pytest.fixture
def laptop():
    return yaml.safe_load((tables.ROOT / "recipes/laptop.yaml").read_text(encoding="utf-8"))


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """A folder with the benchmarks that the paper-sized recipes expect beside them, empty."""
    for name in ("flores200_dataset.tar.gz", "Belebele.zip"):
        path = tmp_path / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("archives")
@pytest.mark.parametrize("recipe", RECIPES)
def test_shipped_recipes_are_valid(recipe):
    resolved = config.resolve({"recipe": recipe})
    assert resolved["languages"]
    if recipe.startswith("bayling-2-"):
        mixture = resolved["mixtures"]["bayling-2"]
        assert mixture["examples"] == 3_200_000
        assert mixture["shares"] == {"zho_Hans": 0.432, "eng_Latn": 0.262, "cross-lingual": 0.306}
        trained = [model["sft"] for model in resolved["models"].values() if "sft" in model]
        assert {sft["batch_size"] * sft["gradient_accumulation"] for sft in trained} == {128}


def test_a_recipe_may_be_laid_over_another_but_not_over_itself(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/a.yaml").write_text("recipe: a\n", encoding="utf-8")
    with pytest.raises(UserError, match="laid over itself"):
        config.resolve({"recipe": "a"}, tmp_path)


def test_a_mixture_knows_which_licences_it_forbids_and_which_kinds_it_draws(laptop):
    assert config.forbidden_licences(laptop, {"forbid_licences": ["copyleft"]}) == ["AGPL-3.0"]
    assert config.kinds(laptop["mixtures"]["laptop"]) == ["translation"]
    assert config.kinds({"kinds": {"a": 1.0}, "phases": [{"kinds": {"b": 1.0}}, {}]}) == ["b", "a"]


def test_every_licence_of_the_tables_has_its_classes():
    for table in ("corpora", "instruction_sets"):
        for row in tables.read(table).values():
            assert tables.row("licences", row["licence"])["classes"]


def test_licences_in_the_guide_have_their_classes_and_a_misspelt_one_is_named(laptop):
    guide = (tables.ROOT / "docs/guide.md").read_text(encoding="utf-8")
    named = re.findall(r"--licence (\"[^\"]+\"|\S+)", guide) + re.findall(r" (CC-BY\S*(?: \S+)*?)  sentences", guide)
    assert "CC-BY-2.0-FR" in named
    for licence in named:
        assert tables.row("licences", licence.strip('"'))["classes"]
    with pytest.raises(UserError, match=r"CC-BY 2.0 FR is not in resources/licences.tsv. Did you mean CC-BY-2.0-FR"):
        tables.row("licences", "CC-BY 2.0 FR")


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
        ({"langauges": ["deu_Latn"]}, "config: langauges is no key here. Did you mean languages?"),
        ({"languages": "deu_Latn"}, "languages: 'deu_Latn' must be a list: write [deu_Latn]"),
        ({"languages": ["eng_Latn", False]}, "languages.1: False is a truth value; it must be text. Without quotation marks YAML reads no"),
        ({"languages": ["eng_Latn", "eng_Latn"]}, "languages: eng_Latn is listed twice"),
        ({"languages": ["all"]}, "only as `languages: all`"),
        ({"languages": ["en", "zh"]}, "config: languages: en is not in resources/languages.tsv. English is eng_Latn."),
        ({"pivots": ["zh-CN"]}, "pivots: zh-CN is not in resources/languages.tsv. Chinese (Simplified) is zho_Hans."),
        ({"mixtures": {"laptop": {"kept_out": ["ger"]}}}, "mixtures.laptop.kept_out: ger is not in resources/languages.tsv. German is"),
        ({"mixtures": {"laptop": {"kept_out": ["fra_Latn"]}}}, "mixtures.laptop.kept_out needs fra_Latn, which is not one of `languages`"),
        ({"mixtures": {"laptop": {"kept_out": "nld_Latn"}}}, "kept_out: 'nld_Latn' must be a list: write [nld_Latn]"),
        ({"mixtures": {"laptop": {"kept_out": None}}}, "mixtures.laptop: kept_out is missing"),
        ({"mixtures": {"laptop": {"temperature": math.inf}}}, "temperature: inf is no number to work with"),
        ({"mixtures": {"laptop": {"temperature": math.nan}}}, "temperature: nan is no number to work with"),
        ({"mixtures": {"laptop": {"temperature": "5,5"}}}, "Write a point for the comma: 5.5"),
        ({"mixtures": {"laptop": {"phases": {"share": 1}}}}, "phases: it is a mapping, and must be a list: begin each entry with `- `"),
        ({"models": {"gemma-3-270m-trimmed": {"trim": {"languages": ["ger_Latn"]}}}}, "trim.languages: ger_Latn is not in"),
        ({"models": {"mine": {"path": "/"}}}, "config: models.mine: licence and parameters are missing. A model has exactly one of"),
        ({"models": {"mine": {"base": "gemma-3-270m"}}}, "models.mine: trim; or mixture and sft are missing"),
        ({"models": {"mine": {"pth": "/", "licence": "x", "parameters": 1}}}, "pth is no key here. Did you mean path?"),
        ({"models": {"mine": {"path": "/", "licence": "x", "parameters": "270M"}}}, "Write out the digits: 270000000"),
        ({"models": {"mine": None}}, "models.mine has nothing behind it"),
        ({"models": {"mine": "/tmp"}}, "models.mine: '/tmp' must be a mapping"),
        ({"models": {"gemma-3-270m-lifted": {"sft": {"learning_rate": "5e-4"}}}}, "'5e-4' is text; it must be a number. YAML reads an exp"),
        ({"models": {"gemma-3-270m-lifted": {"sft": {"learning_rate": "5e-4"}}}}, "write 5.0e-4, without quotation marks"),
        ({"models": {"gemma-3-270m-lifted": {"sft": {"packing": "n"}}}}, "'n' is text. Write true or false"),
        ({"models": {"gemma-3-270m-lifted": {"sft": {"batch_size": 8.0}}}}, "8.0 must be a whole number: write 8."),
        (
            {"models": {"gemma-3-270m-lifted": {"sft": {"learning_rat": 1}}}},
            "lifted.sft: learning_rat is no key here. Did you mean learning_rate?",
        ),
        ({"evaluate": {"batch_size": "16"}}, "'16' is text. Give the number without quotation marks: 16."),
        (
            {"evaluate": {"benchmarks": {"udhr": {"limit": "1,000"}}}},
            "udhr.limit: '1,000' is text; it must be a whole number. Write the digits",
        ),
        ({"evaluate": {"benchmarks": {"udhr": {"shots": 3}}}}, "udhr.shots: 3 must be a list: write [3]"),
        ({"evaluate": {"benchmarks": {"belebele": None}}}, "evaluate.benchmarks.belebele has nothing behind it"),
        ({"evaluate": {"shards": None, "shard_minutes": None}}, "evaluate: shards; or shard_minutes is missing"),
        ({"evaluate": []}, "evaluate: it is a list, and must be a mapping"),
        ({"evaluate": None}, "config: evaluate is missing"),
        (
            {"evaluate": {"comet": {"c": {"path": "/", "encoder": {"pth": "/"}, "licence": "x", "parameters": 1}}}},
            "c.encoder: pth is no key here",
        ),
        ({"decontamination": {"similarity": "50%"}}, "Write it as a share, without %: 0.5"),
        ({"empty_corpus": False}, "empty_corpus: False is a truth value. Without quotation marks YAML reads no"),
        ({"cleaning": [{"filter": "length"}]}, "cleaning.0: min and max are missing"),
        ({"cleaning": [{"filter": "lenght"}]}, "Did you mean length?"),
        ({"evaluate": {"metrics": ["chrf"]}}, "chrF++ must be among them"),
        ({"evaluate": {"metrics": ["BLEU"]}}, "chrF++ must be among them"),
        ({"evaluate": {"significance": "randomization"}}, "evaluate.significance"),
        ({"evaluate": {"batch_size": "many"}}, "evaluate.batch_size: 'many' does not match '^auto$'"),
        ({"evaluate": {"batch_size": 0}}, "evaluate.batch_size"),
        ({"evaluate": {"beams": 0}}, "evaluate.beams"),
        ({"evaluate": {"engine": "vLLM"}}, "evaluate.engine: 'vLLM' is not one of"),
        ({"evaluate": {"engine": "vllm", "beams": 4}}, "with engine: vllm answers are greedy"),
        ({"reports": {"correction": "bonferroni"}}, "reports.correction"),
        ({"corpora": {"django": {"path": "/data/my {data}"}}}, "config.corpora.django.path: braces in /data/my {data} would be read"),
        ({"evaluate": {"benchmarks": {"udhr": {"path": "{a}"}}}}, "config.evaluate.benchmarks.udhr.path: braces in {a}"),
        ({"models": {"gemma-3-270m": {"chat_template": "plane"}}}, "there is no resources/chat_templates/plane.jinja"),
        (
            {"pivots": ["eng_Latn"], "mixtures": {"laptop": {"shares": {"zho_Hans": None, "eng_Latn": 0.08}}}}
            | {"evaluate": {"benchmarks": {"messages": {"directions": ["X-zho"]}}}},
            "zho is none of the pivots",
        ),
        ({"instructions": {"translation": {"worked_examples": {"most": None}}}}, "worked_examples: most is missing"),
        ({"instructions": {"translation": {"worked_examples": {"most": 9}}}}, "worked_examples.most"),
        ({"instructions": {"translation": {"worked_examples": {"share": 1.5}}}}, "worked_examples.share"),
        ({"evaluate": {"benchmarks": {"general": {"max_new_tokens": None}}}}, "general needs max_new_tokens, and takes no directions"),
        ({"evaluate": {"benchmarks": {"general": {"shots": [3]}}}}, "general needs max_new_tokens, and takes no directions, shots or"),
        ({"languages": ["eng_Latn", "zho_Hans"]}, "trim.languages needs deu_Latn"),
        ({"languages": ["eng_Latn", "zho_Hans", "deu_Latin"]}, "deu_Latin"),
        ({"languages": ["eng_Latn", "zho_Hans", "ger_Latn"]}, "languages: ger_Latn is not in resources/languages.tsv. German is deu_Latn."),
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
        ({"mixtures": {"laptop": {"kinds": {"translatoin": 1.0}}}}, "translatoin"),
        ({"mixtures": {"laptop": {"kinds": {"interactive": 1}, "pivots": ["eng_Latn"]}}}, "go by way of zho_Hans too"),
        ({"instructions": {"constrained": {"templates": ["en-01"]}}}, "constrained.templates: en-01 needs {terms}"),
        ({"instructions": {"interactive": {"templates": ["en-terms"]}}}, "interactive.templates: en-terms is for translation under"),
        ({"instructions": {"interactive": {"templates": ["de-01"]}}}, "has nothing in deu_Latn (de-01) that asks back, revise"),
        ({"mixtures": {"laptop": {"pivots": ["deu_Latn"]}}}, "deu_Latn is none of the pivots"),
        ({"mixtures": {"laptop": {"forbid_licences": ["nc"]}}}, "'nc' is not one of ['public-domain'"),
        ({"mixtures": {"laptop": {"phases": [{"share": 0.5}, {"share": 0.4}]}}}, "their shares add up to 0.9, not to 1"),
        ({"mixtures": {"laptop": {"phases": [{"share": 0.5}, {"share": 0.5, "shares": {"eng_Latn": 1, "zho_Hans": 1}}]}}}, "add up to 2"),
        ({"evaluate": {"models": ["gemma"]}}, "there is no model gemma. Known"),
        (
            {"evaluate": {"benchmarks": {"flores200": {"directions": ["X-eng"], "shots": [0], "max_new_tokens": 9}}}},
            "official layout",
        ),
        ({"evaluate": {"benchmarks": {"udhr": {"protocols": ["chat"]}}}}, "only multiple choice has protocols"),
        ({"evaluate": {"benchmarks": {"udhr-reading": {"protocols": ["chat"]}}}}, "udhr-reading needs max_new_tokens"),
        ({"evaluate": {"benchmarks": {"udhr-reading": {"protocols": ["harness"], "shots": [0]}}}}, "only letters takes examples"),
        ({"decontamination": {"against": ["belebele"]}}, "belebele must also be one of evaluate.benchmarks or evaluate.harness"),
        ({"evaluate": {"harness": {"xlni": {}}}}, "xlni is not in resources/harness_tasks.tsv. Did you mean xnli"),
        ({"evaluate": {"harness": {"xnli": {"path": "no/such/folder"}}}}, "evaluate.harness.xnli.path: no/such/folder is not a folder"),
        ({"evaluate": {"harness": {"xnli": {"shot": 3}}}}, "shot"),
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
    assert "given schemas" not in str(caught.value)


def test_a_recipe_is_read_strictly(tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/a.yaml").write_text("languages: all\npivots: []\nlanguages: []\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.yaml: the key languages is there twice, in lines 1 and 3"):
        config.resolve({"recipe": "a"}, tmp_path)


def test_a_mapping_over_a_list_of_mappings_replaces_it():
    assert config.merged({"cleaning": [{"filter": "copy"}]}, {"cleaning": {"a": 1}}) == {"cleaning": {"a": 1}}


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
