"""What other programs find in an export; Hugging Face's own library reads it from disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import datasets
import pytest

from feedback.exports import lay_out, write
from feedback.forms import ALPACA, FORMS, HF, JSONL, KINDS, KTO, PREFERENCE, SFT, SHAREGPT, read_row
from thumbwheel.errors import InvalidRequest

SPLITS = ("train", "validation", "test")


def row(number: int, split: str = "train", **fields: Any) -> dict[str, Any]:
    turns = [{"role": "system", "content": "你是客服。"}] if number % 2 else []
    turns += [{"role": "user", "content": f"第{number}单能退吗\u2028谢谢"}]
    said = {"messages": turns, "completion": f"可以退第{number}单。", "rejected": None, "author": f"u{number}"}
    return {"id": f"ex-{number}", "kind": "sft", "split": split, **said, **fields}


ROWS = [row(1), row(2, rejected="不行。"), row(3, "validation"), row(4, "test", rejected="不。"), row(5)]


@pytest.mark.parametrize("form", FORMS)
def test_hugging_faces_library_reads_every_form(tmp_path: Path, form: str) -> None:
    export = lay_out(ROWS, form, SFT, SPLITS, "support")
    write(tmp_path / "out", export.files)
    files = {split: str(next((tmp_path / "out").glob(f"{split}.*"))) for split in SPLITS}
    read = datasets.load_dataset("json", data_files=files, cache_dir=str(tmp_path / "cache"))
    assert {split: [one["id"] for one in read[split]] for split in SPLITS} == {
        "train": ["ex-1", "ex-2", "ex-5"],
        "validation": ["ex-3"],
        "test": ["ex-4"],
    }
    for split in SPLITS:
        for one, original in zip(read[split], (one for one in ROWS if one["split"] == split), strict=True):
            found = read_row(one)
            assert not isinstance(found, str), found
            assert found.target == original["completion"] and list(found.messages) == original["messages"]


def test_a_folder_in_hf_form_is_a_dataset_by_itself(tmp_path: Path) -> None:
    write(tmp_path / "out", lay_out(ROWS, HF, PREFERENCE, SPLITS, "support").files)
    read = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(read[split]) for split in read} == {"train": 1, "test": 1}
    assert read["train"][0]["chosen"] == [{"role": "assistant", "content": "可以退第2单。"}]
    assert read["train"][0]["rejected"] == [{"role": "assistant", "content": "不行。"}]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_any_form_is_read_whatever_its_first_split_lacks(tmp_path: Path, form: str, kind: str) -> None:
    """A column that is empty in one split and full in the next, other wordings in one alone, in either order."""
    rejected = None if kind != PREFERENCE else "不行。"
    more = {"label": True, "weight": 1.0} if kind == KTO else {}
    came = {} if kind == KTO else {"augmented": {"from": "ex-2", "kind": "noise"}}
    bare = {"kind": "kto" if kind == KTO else "sft", "rejected": rejected, "merged": [], "reviews": [], "since": None}
    asked = [{"role": "user", "content": "第1单能退吗"}]
    longer = [{"role": "user", "content": "在吗"}, {"role": "assistant", "content": "在"}, *asked]
    full = {
        **bare,
        "merged": ["fb-9"],
        "reviews": ["review-1"],
        "since": "d1",
        "rejected": "不行。",
        "messages": longer,
    }
    for at, (first, last) in enumerate((("train", "test"), ("test", "train"))):
        rows = [row(1, first, **bare, messages=asked, **more), row(2, last, **full, **more, **came)]
        out = tmp_path / f"out{at}"
        write(out, lay_out(rows, form, kind, SPLITS, "support").files)
        read = datasets.load_dataset(str(out), cache_dir=str(tmp_path / f"cache{at}"))
        assert {split: read[split]["id"][:] for split in read} == {first: ["ex-1"], last: ["ex-2"]}


@pytest.mark.parametrize("form", [SHAREGPT, ALPACA])
@pytest.mark.parametrize("kind", [SFT, PREFERENCE])
def test_dataset_info_names_the_files_and_their_columns(form: str, kind: str) -> None:
    export = lay_out(ROWS, form, kind, SPLITS, "support")
    about = json.loads(export.files["dataset_info.json"])
    assert set(about) == {f"support_{split}" for split in export.rows}
    for told in about.values():
        rows = json.loads(export.files[told["file_name"]])
        assert rows and all(set(told["columns"].values()) <= set(one) for one in rows)
        assert told.get("ranking", False) == (kind == PREFERENCE)


def test_the_splits_that_are_asked_for_and_no_other() -> None:
    export = lay_out(ROWS, SHAREGPT, SFT, ("train",), "support")
    assert set(export.files) == {"train.json", "dataset_info.json", "README.md"} and export.rows == {"train": 3}
    assert "第4单".encode() not in export.files["train.json"]


def test_whose_it_was_stays_out_of_all_but_jsonl() -> None:
    for form in FORMS:
        (name,) = [name for name in lay_out(ROWS, form, SFT, ("train",), "support").files if name.startswith("train")]
        content = lay_out(ROWS, form, SFT, ("train",), "support").files[name]
        assert (b'"author"' in content) == (form == JSONL)


def test_what_a_form_cannot_say_is_named() -> None:
    twice = row(6, messages=[{"role": "user", "content": "在吗"}, {"role": "user", "content": "能退吗"}])
    assert lay_out([*ROWS, twice], SHAREGPT, SFT, ("train",), "support").left_out == ("ex-6",)
    assert lay_out([*ROWS, twice], HF, SFT, ("train",), "support").left_out == ()


def test_thumbs_are_no_answers_to_learn_and_are_exported_by_themselves(tmp_path: Path) -> None:
    rows = [row(1), row(2, kind="kto", label=False), row(3, kind="kto", label=True)]
    assert lay_out(rows, HF, SFT, ("train",), "support").rows == {"train": 1}
    write(tmp_path / "out", lay_out(rows, ALPACA, KTO, ("train",), "support").files)
    read = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out" / "train.json"), cache_dir=str(tmp_path / "cache")
    )
    assert [one["kto_tag"] for one in read["train"]] == [False, True]


def test_an_export_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="No row with a rejected answer of validation"):
        lay_out(ROWS, ALPACA, PREFERENCE, ("validation",), "support")
    with pytest.raises(InvalidRequest, match="nothing was written"):
        lay_out([], HF, SFT, SPLITS, "support")


def test_files_are_private(tmp_path: Path) -> None:
    write(tmp_path / "new" / "out", {"train.json": b"[]", "dataset_info.json": b"{}"})
    assert (tmp_path / "new" / "out").stat().st_mode & 0o777 == 0o700
    assert [file.stat().st_mode & 0o777 for file in (tmp_path / "new" / "out").iterdir()] == [0o600, 0o600]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"], "nothing is left beside it"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out, {"train.json": b"first"})
    for folder in (out, out / "train.json"):
        with pytest.raises(InvalidRequest, match="is there already"):
            write(folder, {"train.json": b"second"})
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    with pytest.raises(InvalidRequest, match="is there already"):
        write(tmp_path / "link", {"train.json": b"second"})
    assert (out / "train.json").read_bytes() == b"first" and list((tmp_path / "empty").iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InvalidRequest, match="file is no folder"):
        write(tmp_path / "file" / "out", {"train.json": b"[]"})
