import pytest

from thumbwheel.scorers import parse_scorer, score

LABEL = parse_scorer({"kind": "label", "pattern": r"类别：(\S+)"})

ELSEWHERE = {
    "$id": "http://x/a/",
    "$defs": {"q": {"$id": "b/", "$defs": {"w": {"type": "integer"}}, "properties": {"k": {"$ref": "#/$defs/w"}}}},
    "$ref": "b/",
}


@pytest.mark.parametrize(
    ("raw", "answer", "correction", "value"),
    [
        ({"kind": "regex", "pattern": "^A.*z$"}, "A to z", None, 1.0),
        ({"kind": "regex", "pattern": "^A.*z$"}, "A\nz", None, 0.0),
        ({"kind": "exact"}, " same ", "same", 1.0),
        ({"kind": "exact"}, "other", "same", 0.0),
        ({"kind": "exact"}, "other", None, None),
        ({"kind": "json_schema", "schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', None, 1.0),
        ({"kind": "json_schema", "schema": {"type": "object", "required": ["a"]}}, '{"b": 1}', None, 0.0),
        ({"kind": "json_schema", "schema": {"type": "object"}}, "no json", None, 0.0),
        ({"kind": "json_schema", "schema": {"type": "object"}}, "[" * 100_000, None, 0.0),
        ({"kind": "json_schema", "schema": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}}, "{}", None, 1.0),
        ({"kind": "json_schema", "schema": {"$ref": "#"}}, "{}", None, 0.0),
        ({"kind": "json_schema", "schema": {"multipleOf": 0.01}}, "NaN", None, 0.0),
        ({"kind": "json_schema", "schema": {"multipleOf": 0.01}}, "-Infinity", None, 0.0),
        ({"kind": "json_schema", "schema": {"multipleOf": 0.01}}, "1e999", None, 0.0),
        ({"kind": "json_schema", "schema": {"multipleOf": 0.01}}, "1" + "0" * 400, None, 0.0),
        ({"kind": "json_schema", "schema": {"multipleOf": 0.5}}, "[1, 2.5]", None, 1.0),
        ({"kind": "json_schema", "schema": {"multipleOf": 0.5}}, "2.5", None, 1.0),
        ({"kind": "json_schema", "schema": ELSEWHERE}, '{"k": 1}', None, 1.0),
        ({"kind": "json_schema", "schema": ELSEWHERE}, '{"k": "1"}', None, 0.0),
        ({"kind": "json_schema", "schema": {"const": {"$ref": "here it is no reference"}}}, "{}", None, 0.0),
        ({"kind": "chrf"}, "完全一样的回答", "完全一样的回答", 1.0),
    ],
)
def test_scores(raw: dict[str, object], answer: str, correction: str | None, value: float | None) -> None:
    assert score(parse_scorer(raw), answer, correction) == value


def test_a_label_must_equal_the_correction_s() -> None:
    assert score(LABEL, "类别：退货", "类别：退货 好") == 1.0
    assert score(LABEL, "类别：换货", "类别：退货") == 0.0
    assert score(LABEL, "没有", "类别：退货") == 0.0
    assert score(LABEL, "类别：退货", "没有") is None


def test_chrf_sees_chinese() -> None:
    scorer = parse_scorer({"kind": "chrf"})
    near, far = score(scorer, "请您退货", "请您退货吧"), score(scorer, "天气很好", "请您退货吧")
    assert near is not None and far is not None and near > 0.5 > far
