"""Files of training data, as houses and Hugging Face's own library write them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import datasets
import pytest

from feedback.datafiles import Found, data_files, passed_over, records
from thumbwheel.errors import InvalidRequest

ROWS = [{"prompt": "能退吗", "completion": "能"}, {"prompt": "何时发货", "completion": "明天\u2028上午"}]


def read(path: Path) -> list[Found]:
    return [found for file in data_files(path) for found in records(file, file.name)]


def values(path: Path) -> list[object]:
    found = read(path)
    assert [one.fault for one in found] == [None] * len(found)
    return [one.value for one in found]


def test_lists_and_lines(tmp_path: Path) -> None:
    texts = {
        "lines.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS),
        "lines-too.json": "\n".join(json.dumps(row) + "\r" for row in ROWS) + "\n\n",
        "list.json": json.dumps(ROWS, ensure_ascii=False, indent=2),
        "marked.json": "\ufeff " + json.dumps(ROWS),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        assert values(tmp_path / name) == ROWS, name
    (tmp_path / "none.json").write_text("[ ]\n")
    assert read(tmp_path / "none.json") == []


def test_each_record_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('[\n  {"a": 1},\n  {"a":\n 2}, {"a": 3}\n]\n')
    (tmp_path / "b.jsonl").write_text('\n{"a": 1}\n\n{"a": 2}\n')
    assert [one.where for one in read(tmp_path / "a.json")] == ["a.json line 2", "a.json line 3", "a.json line 4"]
    assert [one.where for one in read(tmp_path / "b.jsonl")] == ["b.jsonl line 2", "b.jsonl line 4"]


@pytest.mark.parametrize(
    ("name", "raw", "where", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n{"a": 3}\n', "a.jsonl line 2", "it is no JSON"),
        ("a.jsonl", b"[1]\n", None, None),
        ("a.json", b'[{"a": 1},\n {"a": }]', "a.json line 2", "it is no JSON"),
        ("a.json", b'[{"a": 1},\n]', "a.json line 2", "it is no JSON"),
        ("a.json", b'[{"a": 1}\n {"a": 2}]', "a.json line 1", "the list breaks off"),
        ("a.json", b'[{"a": 1}', "a.json line 1", "the list breaks off"),
        ("a.json", b"[", "a.json line 1", "it is no JSON"),
        ("a.json", b'[{"a": 1}]\n{"a": 2}', "a.json line 1", "something follows the list"),
        ("a.jsonl", b"[" * 100_000, "a.jsonl line 1", "it is no JSON"),
        (
            "a.jsonl",
            '{"a": 1}\n{"a": "能退吗"}\n'.encode("gb18030"),
            "a.jsonl line 2",
            "`iconv -f GB18030 -t UTF-8 FILE`",
        ),
        ("a.jsonl", '{"a": "能"}'.encode("utf-16"), "a.jsonl line 1", "`iconv -f UTF-16 -t UTF-8 FILE`"),
        ("a.json", b'{"a": 1}\n\x89PNG\0\0', "a.json line 2", "it holds a NUL"),
        ("a.jsonl", "问,答\n能退吗,能".encode(), "a.jsonl line 1", "at character 1); one object a line"),
        ("a.parquet", b"PAR1 not at all PAR1", "a.parquet", "damaged"),
        ("a.arrow", b"ARROW1\0\0", "a.arrow", "damaged"),
        ("a.arrow", b"", "a.arrow", "damaged"),
    ],
)
def test_a_fault_has_a_place_too(tmp_path: Path, name: str, raw: bytes, where: str | None, words: str | None) -> None:
    (tmp_path / name).write_bytes(raw)
    faults = [one for one in read(tmp_path / name) if one.fault is not None]
    if where is None or words is None:
        assert faults == []
    else:
        assert faults[0].where == where and words in str(faults[0].fault)


def test_what_hugging_faces_library_writes(tmp_path: Path) -> None:
    made = datasets.Dataset.from_list(ROWS)
    made.to_parquet(str(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet"))
    (tmp_path / "hub" / "dataset_infos.json").write_text("{}")
    made.save_to_disk(str(tmp_path / "disk"))
    (tmp_path / "disk" / "cache-0123.arrow").write_bytes(b"a map's leftovers")
    datasets.DatasetDict({"train": made, "test": made.select([1])}).save_to_disk(str(tmp_path / "dict"))
    made.to_json(str(tmp_path / "lines.jsonl"), force_ascii=False)
    assert values(tmp_path / "hub") == values(tmp_path / "disk") == values(tmp_path / "lines.jsonl") == ROWS
    assert values(tmp_path / "dict") == [ROWS[1], *ROWS]
    assert [one.where for one in read(tmp_path / "disk")] == [f"data-00000-of-00001.arrow row {n}" for n in (1, 2)]


def test_an_arrow_file_that_is_no_stream(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import ipc

    table = pyarrow.Table.from_pylist(ROWS)
    with ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert values(tmp_path / "a.arrow") == ROWS


def test_one_object_on_several_lines_is_one_record(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("\n" + json.dumps(ROWS[0], indent=2))
    assert read(tmp_path / "a.json") == [Found("a.json line 2", ROWS[0])]


def test_what_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "state.json").write_text("{}")
    (tmp_path / "gone.json").symlink_to(tmp_path / "nowhere.json")
    os.mkfifo(tmp_path / "pipe.jsonl")
    for name, words in (
        ("a.csv", "is none of .* as JSON lines"),
        ("a.txt", r"is none of [^ ]+ [^ ]+ [^ ]+ [^ ]+ \.arrow\.$"),
        ("none.json", "is not there"),
        ("folder", "holds no data"),
        ("gone.json", "is a link to what is not there"),
        ("pipe.jsonl", "is a pipe or a device"),
        ("x" * 300, "cannot be read: File name too long"),
    ):
        with pytest.raises(InvalidRequest, match=words):
            data_files(tmp_path / name)
    with pytest.raises(InvalidRequest, match="is a pipe or a device"):
        data_files(Path("/dev/null"))


def test_a_folder_passes_over_nothing_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}\n")
    (tmp_path / "below").mkdir()
    for name in ("more.csv", "notes.txt", "README.md", ".hidden", "state.json", "below/b.csv"):
        (tmp_path / name).write_text("x")
    assert [file.name for file in data_files(tmp_path)] == ["a.jsonl"]
    assert passed_over(tmp_path) == ["below/b.csv", "more.csv", "notes.txt"] and passed_over(tmp_path / "a.jsonl") == []
    (tmp_path / "below" / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InvalidRequest, match=r"below/gone\.jsonl is a link to what is not there"):
        data_files(tmp_path)
