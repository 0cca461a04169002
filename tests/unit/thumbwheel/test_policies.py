from dataclasses import replace

import pytest

from thumbwheel.errors import InvalidRequest
from thumbwheel.policies import (
    MAX_GROUP,
    MAX_PER_ROW,
    MAX_TERM_CHARS,
    MAX_TERMS,
    REPLAY_KEYS,
    check_name,
    parse_changes,
    parse_stages,
)
from thumbwheel.records import DEFAULT_STAGES, Augment, Clean, Mix, Policies

# "#" is the part with the nearest "$id", which holds no "z"; the whole does.
BENEATH = {"$defs": {"z": {}, "x": {"$id": "http://x/", "items": {"$ref": "#/$defs/z"}}}, "$ref": "#/$defs/x"}


def test_a_key_left_out_keeps_its_value() -> None:
    first = replace(Policies(), **parse_changes({"log": "metadata", "train_after": 50}))
    second = replace(first, **parse_changes({"train": False}))
    assert (second.log, second.train_after, second.train) == ("metadata", 50, False)


@pytest.mark.parametrize("choice", ["wait", "kto", "propose"])
def test_what_becomes_of_a_thumb_without_a_correction(choice: str) -> None:
    assert parse_changes({"uncorrected": choice}) == {"uncorrected": choice}


@pytest.mark.parametrize("trust", ["single-user", "two-sources", "reviewed"])
def test_whose_word_is_enough(trust: str) -> None:
    assert parse_changes({"trust": trust}) == {"trust": trust}


def test_how_many_reviewers_it_takes() -> None:
    assert Policies().reviews == 1
    assert parse_changes({"reviews": 2}) == {"reviews": 2}


def test_defaults_are_those_of_the_interface() -> None:
    policies = replace(Policies(), **parse_changes({}))
    assert [stage.weight for stage in policies.stages] == [5, 25, 50, 100]
    assert {(s.min_units, s.min_requests, s.deadline_s) for s in policies.stages} == {(8, 20, 3600.0)}
    assert policies.auto_rollout and policies.train and policies.log == "full" and policies.train_after is None


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"colour": 1}, "colour"),
        ({"log": "some"}, "log"),
        ({"train": "yes"}, "train"),
        ({"train_after": 0}, "train_after"),
        ({"train_after": True}, "train_after"),
        ({"trust": "nobody"}, "trust"),
        ({"uncorrected": "guess"}, "uncorrected"),
        ({"uncorrected": None}, "uncorrected"),
        ({"reviews": 0}, "reviews"),
        ({"reviews": 3}, "reviews"),
        ({"reviews": True}, "reviews"),
        ({"reviews": 1.0}, "reviews"),
        ({"compression": "merge"}, "compression"),
        ({"clean": []}, "clean"),
        ({"clean": {"allowed": []}}, "clean.allowed"),
        ({"clean": {"allow": "400-123-4567"}}, "clean.allow"),
        ({"clean": {"allow": [4001234567]}}, "clean.allow"),
        ({"clean": {"allow": [" "]}}, "clean.allow"),
        ({"clean": {"allow": ["x" * (MAX_TERM_CHARS + 1)]}}, "clean.allow"),
        ({"clean": {"blocked_terms": ["x"] * (MAX_TERMS + 1)}}, "clean.blocked_terms"),
        ({"clean": {"blocked_terms": None}}, "clean.blocked_terms"),
        ({"clean": {"min_chars": 0}}, "clean.min_chars"),
        ({"clean": {"max_chars": True}}, "clean.max_chars"),
        ({"clean": {"max_chars": 10**30}}, "clean.max_chars"),
        ({"clean": {"min_chars": 9, "max_chars": 8}}, "clean.min_chars"),
        ({"mix": []}, "mix"),
        ({"mix": {"tags": {}}}, "mix.tags"),
        ({"mix": {"shares": ["a"]}}, "mix.shares"),
        ({"mix": {"shares": {"a": "1"}}}, "mix.shares"),
        ({"mix": {"shares": {"a": True}}}, "mix.shares"),
        ({"mix": {"shares": {"a": float("nan")}}}, "mix.shares"),
        ({"mix": {"shares": {"a": 1.5, "b": -0.5}}}, "mix.shares"),
        ({"mix": {"shares": {"a": 0.5}}}, "mix.shares"),
        ({"mix": {"shares": {"a": 0}}}, "mix.shares"),
        ({"mix": {"shares": {" ": 1}}}, "mix.shares"),
        ({"mix": {"shares": {str(n): 0.001 for n in range(MAX_TERMS + 1)}}}, "mix.shares"),
        ({"mix": {"shares": {"a": 0.9}, "other": 0.2}}, "mix.shares"),
        ({"mix": {"other": 0.2}}, "mix.other"),
        ({"mix": {"shares": {"a": 1}, "other": "0"}}, "mix.other"),
        ({"mix": {"max_age_days": 0}}, "mix.max_age_days"),
        ({"mix": {"max_age_days": 1.5}}, "mix.max_age_days"),
        ({"augment": True}, "augment"),
        ({"augment": {"rows": 1}}, "augment.rows"),
        ({"augment": {"kinds": "noise"}}, "augment.kinds"),
        ({"augment": {"kinds": ["typos"]}}, "augment.kinds"),
        ({"augment": {"kinds": [["noise"]]}}, "augment.kinds"),
        ({"augment": {"kinds": ["noise", "noise"]}}, "augment.kinds"),
        ({"augment": {"kinds": ["terms"]}}, "augment.terms"),
        ({"augment": {"per_row": 0}}, "augment.per_row"),
        ({"augment": {"per_row": MAX_PER_ROW + 1}}, "augment.per_row"),
        ({"augment": {"per_row": True}}, "augment.per_row"),
        ({"augment": {"synonyms": {"a": "b"}}}, "augment.synonyms"),
        ({"augment": {"synonyms": [["a"]]}}, "augment.synonyms"),
        ({"augment": {"synonyms": [["a", " "]]}}, "augment.synonyms"),
        ({"augment": {"terms": [["a"] * (MAX_GROUP + 1)]}}, "augment.terms"),
        ({"augment": {"terms": [["a", "b"]] * (MAX_TERMS + 1)}}, "augment.terms"),
        ({"scorers": {}}, "scorers"),
        ({"scorers": [{"kind": "regex"}]}, "scorers.pattern"),
        ({"scorers": [{"kind": "regex", "pattern": "("}]}, "scorers.pattern"),
        ({"scorers": [{"kind": "label", "pattern": "a"}]}, "scorers.pattern"),
        ({"scorers": [{"kind": "json_schema", "schema": {"type": 3}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "exact", "x": 1}]}, "scorers.x"),
        ({"scorers": [{"kind": []}]}, "scorers"),
        ({"scorers": [{"kind": "regex", "pattern": "a{99999999999}"}]}, "scorers.pattern"),
        ({"scorers": [{"kind": "regex", "pattern": "(" * 1900 + ")" * 1900}]}, "scorers.pattern"),
        ({"scorers": [{"kind": "json_schema", "schema": {"$ref": "file:///etc/hostname"}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": {"items": {"$ref": "#/$defs/none"}}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": {"type": "object", "$ref": "#/type"}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "regex", "pattern": "(?a)(?u)b"}]}, "scorers.pattern"),
        ({"scorers": [{"kind": "json_schema", "schema": {"pattern": "(?a)(?u)b"}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": {"$ref": "#/a/b", "a": 5}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": {"$ref": "#/a/x", "a": [1]}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": {"$ref": "#/a", "a": {"type": "text"}}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": {"$ref": "#/a", "a": {"$ref": "#/b"}}}]}, "scorers.schema"),
        ({"scorers": [{"kind": "json_schema", "schema": BENEATH}]}, "scorers.schema"),
        (
            {"scorers": [{"kind": "json_schema", "schema": {"$id": "http://x", "not": {"$id": "http://[x"}}}]},
            "scorers.schema",
        ),
        ({"train_after": 10**30}, "train_after"),
        ({"stages": [{"weight": 100, "deadline_s": 10**400}]}, "stages.deadline_s"),
        ({"stages": [{"weight": 100, "min_units": 10**30}]}, "stages.min_units"),
        ({"stages": []}, "stages"),
        ({"stages": [{"weight": 5}]}, "stages"),
        ({"stages": [{"weight": 50}, {"weight": 5}, {"weight": 100}]}, "stages"),
        ({"stages": [{"weight": 100, "margins": {}}]}, "stages.margins"),
        ({"stages": [{"weight": 100, "min_unit": 1}]}, "stages.min_unit"),
        ({"stages": [{"weight": 100, "min_units": 1.5}]}, "stages.min_units"),
        ({"stages": [{"weight": 0}, {"weight": 100}]}, "stages.weight"),
    ],
)
def test_what_is_wrong_is_named(body: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_changes(body)
    assert caught.value.param == param


def test_what_a_channel_adds_to_cleaning() -> None:
    assert parse_changes({"clean": {}}) == {"clean": Clean()}
    added = {"blocked_terms": ["竞品"], "allow": ["400-123-4567", "help@shop.example"], "min_chars": 4, "max_chars": 4}
    assert parse_changes({"clean": added}) == {"clean": Clean(("竞品",), ("400-123-4567", "help@shop.example"), 4, 4)}
    assert parse_changes({"clean": {"max_chars": None}}) == {"clean": Clean()}


def test_shares_of_a_mix_add_up_to_one() -> None:
    assert parse_changes({"mix": {}}) == {"mix": Mix()}
    shares = {"推理": 0.25, "对话": 0.75}
    assert parse_changes({"mix": {"shares": shares, "max_age_days": 365}}) == {"mix": Mix(shares, None, 365)}
    thirds = {"a": 0.3333333, "b": 0.3333333}
    assert parse_changes({"mix": {"shares": thirds, "other": 0.3333333}}) == {"mix": Mix(thirds, 0.3333333)}


@pytest.mark.parametrize("key", REPLAY_KEYS)
def test_replay_is_no_mix_and_the_message_says_where_it_is_set(key: str) -> None:
    with pytest.raises(InvalidRequest, match=r"the recipe's to say .*`replay_rows`.*`recipe_config`") as caught:
        parse_changes({"mix": {key: 0.1}})
    assert caught.value.param == f"mix.{key}"


def test_what_is_varied() -> None:
    assert parse_changes({"augment": {}}) == {"augment": Augment()}
    wanted = {"kinds": ["noise", "terms"], "per_row": 2, "synonyms": [], "terms": [["宽带", "光纤"]]}
    assert parse_changes({"augment": wanted}) == {"augment": Augment(("noise", "terms"), 2, (), (("宽带", "光纤"),))}


def test_a_later_order_s_value_is_said_to_come_later() -> None:
    with pytest.raises(InvalidRequest, match="not available in this version"):
        parse_changes({"compression": "merge"})


def test_stages_take_their_defaults() -> None:
    assert parse_stages([{"weight": w} for w in (5, 25, 50, 100)]) == DEFAULT_STAGES


@pytest.mark.parametrize("name", ["", "..", "../x", "Support", "a b", "x" * 65, "客服", "-a"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_name(name)


def test_a_good_name_is_taken() -> None:
    assert check_name("support-2.cn_x") == "support-2.cn_x"
