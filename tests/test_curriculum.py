"""A mixture in phases reaches the model in phases: in windows, packed or not, in every epoch, and again after a kill."""

import hashlib
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars
import pytest

from tests.test_train import SETTINGS, base, command, kill_after, load_tokenizer, mixture, row, weights
from workflow_scripts.mixtures import mix
from workflow_scripts.models import tokens, train

__all__ = ["base"]  # a fixture
LANGUAGES = ("deu_Latn", "swh_Latn", "tha_Thai")
COLUMNS = ["id", "kind", "source_language", "target_language", "language", "messages", "corpus", "licence", "template"]


def written(folder: Path, code: str, kind: str, count: int) -> Path:
    """Instructions of one language; the answer names it, and lengths vary."""
    rows = []
    for number in range(count):
        own = {"id": f"{code}{kind}{number}", "kind": kind, "source_language": "eng_Latn", "target_language": code, "template": "t"}
        rows.append(row(code, number % 9, f"{code} {'Matte ' * (number * 7 % 11)}{number}") | own)
    path = folder / f"{kind}-{code}.parquet"
    polars.DataFrame(rows).select(COLUMNS).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def phased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,030 rows: 3,500 with a tenth in three languages, then 1,530 with nine tenths."""
    folder = tmp_path_factory.mktemp("phased")
    paths = [written(folder, code, "translation", 1300) for code in LANGUAGES]
    paths.append(written(folder, "eng_Latn", "general", 4500))
    early, late = {"eng_Latn": 0.9, "cross-lingual": 0.1}, {"eng_Latn": 0.1, "cross-lingual": 0.9}
    settings = {
        "examples": 5030, "shares": early, "temperature": 1, "cap": 9999, "repeats": 1, "corpus_caps": {}, "seed": 1,
        "phases": [{"share": 0.6958, "shares": early}, {"share": 0.3042, "shares": late}],
    }  # fmt: skip
    mix.mix(paths, "m", settings, folder / "m.parquet")
    return folder / "m.parquet"


def languages_in_order(tokenizer: Any, data: Any, order: Sequence[int]) -> list[str]:
    """The language of each row that the model meets, one after the other."""
    found = []
    blocks = data.select(order)
    for ids, labels, *lengths in zip(*(blocks[name] for name in blocks.column_names if name != "position_ids"), strict=True):
        at = 0
        for length in lengths[0] if lengths else [len(ids)]:
            learnt = [token for token, label in zip(ids[at : at + length], labels[at : at + length], strict=True) if label != -100]
            found.append(tokenizer.decode(learnt).split()[0])
            at += length
    return found


@pytest.mark.parametrize("batch_size", [4, 32])
@pytest.mark.parametrize("packing", [False, True])
def test_every_tenth_of_a_phase_keeps_its_shares_in_training(base: Path, phased: Path, packing: bool, batch_size: int) -> None:
    tokenizer = load_tokenizer(base)
    settings = SETTINGS | {"packing": packing, "max_length": 512, "batch_size": batch_size}
    rows, _ = train.encode(tokenizer, phased, 512, "m")
    assert tokens.phases(phased) == rows.phases == [3500, 1530]
    if not packing:
        rows = train.by_length(rows, batch_size, 7)
    data, order = train.in_training_order(rows, settings, 1)
    assert len(data) < 1000 or not packing
    for epoch in (0, 1, 2):
        met = languages_in_order(tokenizer, data, order.rows(epoch))
        assert len(met) == 5030
        for code in LANGUAGES:
            for start, end in ((0, 3500), (3500, 5030)):
                share = met[start:end].count(code) / (end - start)
                for tenth in range(10):
                    few = met[start + tenth * (end - start) // 10 : start + (tenth + 1) * (end - start) // 10]
                    deviation = (len(few) * share * (1 - share)) ** 0.5
                    assert abs(few.count(code) - len(few) * share) < 4.5 * deviation, (epoch, code, start, tenth)


def made_up(count: int) -> list[train.Row]:
    return [(array("i", [5 + number % 200] * (2 + number * 37 % 50)), (1,)) for number in range(count)]


def test_unpacked_rows_without_phases_come_as_they_always_did() -> None:
    """By hashes of the order that models were trained with before there were windows of phases."""
    for count, batch_size, seed, known in ((1003, 8, 7, "2f5fb0c47acfe0cd"), (64, 4, 1, "ada382eca199dfb9"), (5, 8, 2, "a8a6658f2c5702b8")):
        ordered = train.by_length(made_up(count), batch_size, seed)
        assert hashlib.sha256(b"".join(ids.tobytes() for ids, _ in ordered)).hexdigest()[:16] == known
        data, order = train.in_training_order(ordered, SETTINGS | {"batch_size": batch_size}, 1)
        assert data["input_ids"][:] == [list(ids) for ids, _ in ordered]
        assert order.rows(0) == list(range(count))


def test_a_batch_that_two_phases_share_shifts_no_other() -> None:
    for phases in ([10, 13], [3, 2, 1, 40], [0, 5, 0, 9], [128, 64, 65], [1]):
        for batch_size in (1, 4, 8):
            places = [place for window in train.windows(phases, batch_size) for place in window]
            assert places == list(range(sum(phases)))
            rows = train.Rows(made_up(sum(phases)), phases)
            ordered = train.by_length(rows, batch_size, 3)
            assert sorted(ordered) == sorted(rows) and ordered.phases == phases
            start = 0
            for count in phases:
                assert sorted(ordered[start : start + count]) == sorted(rows[start : start + count])
                start += count


@pytest.mark.parametrize("packing", [False, True])
def test_later_epochs_have_orders_of_their_own_and_lose_nothing(packing: bool) -> None:
    settings = SETTINGS | {"packing": packing, "max_length": 60, "batch_size": 4, "gradient_accumulation": 2}
    rows = train.Rows(made_up(2303), [1500, 803])
    for processes in (1, 2):
        data, order = train.in_training_order(rows if packing else train.by_length(rows, 4, 7), settings, processes)
        seen = [order.rows(epoch) for epoch in range(3)]
        assert seen[0] == list(range(len(data))) and seen[0] != seen[1] != seen[2] != seen[0]
        assert all(sorted(places) == seen[0] for places in seen)
        assert all(places[len(order.lengths) :] == seen[0][len(order.lengths) :] for places in seen), "rows that do not count stay last"
        again = train.in_training_order(rows if packing else train.by_length(rows, 4, 7), settings, processes)[1]
        assert again.rows(2) == seen[2]
        total, step = sum(len(ids) for ids, _ in rows), order.steps
        assert [order.tokens_after(epoch * step) for epoch in range(4)] == [epoch * total for epoch in range(4)]
        in_epoch = [order.tokens_after(step + number) for number in range(step + 1)]
        assert in_epoch == sorted(set(in_epoch))
        far = max(abs(place - at) for places in seen for at, place in enumerate(places))
        assert far < max(map(len, order.windows)) and len(order.windows) > 2


def test_blocks_stay_where_their_rows_were_packed() -> None:
    rows = [(array("i", [number // 1000] * (20 + number * 37 % 41)), (1,)) for number in range(3600)]
    data, order = train.in_training_order(rows, SETTINGS | {"packing": True, "max_length": 200}, 1)
    for epoch in (0, 1):
        thousands = [ids[0] for ids in data.select(order.rows(epoch))["input_ids"]]
        assert thousands == sorted(thousands)
    lengths = [sum(block) for block in data["seq_lengths"]]
    assert lengths != sorted(lengths, reverse=True), "length is no curriculum"


@pytest.mark.parametrize("changes", [{}, {"packing": True, "gradient_accumulation": 2, "batch_size": 2}])
def test_killed_in_a_later_epoch_it_ends_bit_equal(base: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    data = mixture(tmp_path / "mixture.parquet", 48)
    places = {name: tmp_path / name for name in ("whole", "killed")}
    for place in places.values():
        place.mkdir()
    settings = {"epochs": 3, "save_steps": 2, "max_length": 96} | changes
    train.main(command(base, data, places["whole"], **settings))
    steps = len((places["whole"] / "model/training.jsonl").read_text(encoding="utf-8").splitlines())
    kill_after(steps // 2 // 2, command(base, data, places["killed"], **settings))
    train.main(command(base, data, places["killed"], **settings))
    assert weights(places["killed"]) == weights(places["whole"])
    for name in ("model/training.jsonl", "manifest.json"):
        assert (places["killed"] / name).read_bytes() == (places["whole"] / name).read_bytes()


def test_a_mixture_without_phases_has_one(tmp_path: Path) -> None:
    assert tokens.phases(mixture(tmp_path / "m.parquet", 9)) == [9]
    assert train.phases_of(made_up(3)) == [3]
