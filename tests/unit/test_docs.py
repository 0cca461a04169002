"""docs/clients.md says what the code does: its lists are the code's own, and its commands work."""

from __future__ import annotations

import ast
import dataclasses
import json
import math
import re
import shlex
import subprocess
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy import analysis, runs
from feedback import (
    consumer,
    curate,
    ingest,
    proposals,
    rewording,
    screening,
    snapshot,
    splits,
    teacher,
)
from feedback.vary import noise
from retrain import evidence, gate, gate_config
from retrain.engine_client import Answer
from retrain.evaluate import HeldOut, Sides
from retrain.rows import Row
from retrain.statistics import Interval
from serving import asking, connection, feedback_api, fields, replies, saying
from tests.gateway_worker import Worker, worker
from thumbwheel import (
    coverage,
    dataset_figures,
    errors,
    events,
    keys,
    ledger,
    policies,
    records,
    roles,
    scorers,
    why,
)
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.eventlog.sqlite import SqliteEventLog
from thumbwheel.scorers import Scorer
from thumbwheel.settings import Settings
from thumbwheel.store import fleet_rows, release_rows

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
PROSE = " ".join(PAGE.split())
REASON = re.compile(r"[a-z_]+")
CODE = re.compile(r"`([^`]+)`")


def tables() -> list[list[list[str]]]:
    """Every table's rows, its heading first, as cells."""
    found = re.findall(r"(?:^\|.*\n)+", PAGE, re.MULTILINE)
    cut = [[[cell.strip() for cell in line[1:-1].split("|")] for line in lines.splitlines()] for lines in found]
    return [[row for row in rows if not row[0].startswith("---")] for rows in cut]


def table(*heading: str) -> list[list[str]]:
    """The rows of the only table whose heading begins so."""
    (found,) = [rows for rows in tables() if tuple(rows[0][: len(heading)]) == heading]
    assert all(len(row) == len(found[0]) for row in found), "a row lacks a cell"
    return found[1:]


def state_tables() -> list[list[str]]:
    """The first column of each table of states that have no reason, in the page's order."""
    return [[row[0].strip("`") for row in rows[1:]] for rows in tables() if rows[0][:2] == ["state", "means"]]


# lists


def test_policies_and_their_defaults() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("policy", "default")}
    defaults = asdict(records.Policies())
    stages = defaults.pop("stages")
    assert rows.pop("stages") == ", ".join(f"{stage['weight']:g}" for stage in stages)
    assert {name: json.loads(cell.strip("`")) for name, cell in rows.items()} == json.loads(json.dumps(defaults))


def test_what_becomes_of_a_thumb_without_a_correction() -> None:
    rows = {row[0].strip("`") for row in table("`uncorrected`")}
    assert rows == set(policies.CHOICES["uncorrected"]) and records.Policies().uncorrected in rows
    patience, words = teacher.Patience(), {1: "one", 4: "four", 5: "five"}
    assert f"`--limit` of them ({proposals.LIMIT})" in PROSE
    assert f"{words[patience.in_flight].capitalize()} requests are under way at a time" in PROSE
    assert f"tried {words[patience.tries]} times at most" in PROSE
    assert f"the rest is not asked where {words[patience.in_a_row]} questions in a row fail" in PROSE
    assert f"with temperature {proposals.RESAMPLE_TEMPERATURE:g}" in PROSE
    assert all(f"`{kind}`" in PROSE for kind in proposals.ALONE)
    assert (dataset_figures.LEAST_RATIO, dataset_figures.MOST_RATIO) == (1, 4 / 3) and "lies from 1 to 4/3" in PROSE


def test_scorers_and_what_they_need() -> None:
    rows = {row[0].strip("`"): tuple(CODE.findall(row[1])) for row in table("kind", "needs")}
    assert rows == scorers.KINDS


def test_what_the_page_says_of_patterns() -> None:
    scorer = scorers.parse_scorer({"kind": "regex", "pattern": "^Yes$"})
    answers = {"Yes": 1.0, "Yes\n": 1.0, " Yes": 0.0, "Yes ": 0.0, "yes": 0.0, "Well: Yes": 0.0}
    assert {answer: scorers.score(scorer, answer, None) for answer in answers} == answers
    found = scorers.parse_scorer({"kind": "regex", "pattern": "Yes"})
    assert scorers.score(found, "Well: Yes!", None) == 1.0, "it searches"
    assert scorers.score(scorers.parse_scorer({"kind": "exact"}), " Yes\n", "Yes ") == 1.0
    assert f"takes over {Scorer('exact').most_s:g} s on one answer" in PROSE


def test_the_ledgers_reasons_are_all_that_the_code_has() -> None:
    rows = [[cell.strip("`") for cell in row[:2]] for row in table("state", "reason")]
    assert [row for row in rows if row[0] == ledger.USED] == [[ledger.USED, ""]]
    assert {state for state, _ in rows} == {ledger.USED, ledger.WAITING, ledger.REFUSED}
    waiting = {reason for state, reason in rows if state == ledger.WAITING}
    refused = {reason for state, reason in rows if state == ledger.REFUSED}
    arrival = {ledger.INFERENCE_NOT_SEEN, ledger.NO_CORRECTION, ledger.NO_RUN_YET, ledger.DEAD_LETTER}
    assert waiting == arrival | ledger.CURATION_WAITS
    states = {ledger.USED, ledger.WAITING, ledger.REFUSED}
    named = {
        value
        for name, value in vars(ledger).items()
        if name.isupper() and isinstance(value, str) and REASON.fullmatch(value)
    }
    assert waiting | refused == named - states == set(why.EXPLAINED)
    ends = {row[0].strip("`"): row[1].strip("`") for row in table("waits as")}
    assert ends == ledger.GIVEN_UP and set(ends) <= waiting and set(ends.values()) <= refused
    assert set(ends) == waiting - ledger.REVIEWABLE
    assert waiting.isdisjoint(refused) and len(rows) == len(waiting) + len(refused) + 1


def test_states() -> None:
    of_runs, of_rollouts = state_tables()
    assert tuple(of_runs) == records.RUN_STATES
    assert tuple(of_rollouts) == records.ROLLOUT_STATES
    assert tuple(row[0].strip("`") for row in table("release state")) == records.RELEASE_STATES
    ends = {row[0].strip("`") for rows in tables() if rows[0][:2] == ["state", "means"] for row in rows[1:]
            if row[1].startswith("an end")}  # fmt: skip
    busy = {*records.RUN_BUSY, *records.ROLLOUT_ACTIVE}
    assert ends == {*records.RUN_STATES, *records.ROLLOUT_STATES} - busy
    (told,) = re.findall(r"`analysis.result` is ([^.]+)\.", PROSE)
    assert tuple(CODE.findall(told)) == analysis.RESULTS
    assert runs.JOBS_AT_ONCE == 1, "the page says that one step works at a time"


def whole_evidence() -> gate.Evidence:
    """Something of everything that is measured: enough for every check to have its say."""
    some = Interval(0.5, 0.4, 0.6, 30)
    values = {
        "int": 30,
        "float": 20.0,
        "str | None": None,
        "Interval | None": some,
        "General | None": gate.General(200, some, 0.01, 900, 0, 0),
        "Mapping[str, Interval]": {},
    }
    return gate.Evidence(**{part.name: values[str(part.type)] for part in dataclasses.fields(gate.Evidence)})


def test_the_gates_checks_and_thresholds() -> None:
    thresholds, _ = gate_config.read_config(None)
    evidence_of_all = whole_evidence()
    verdicts = [gate.gate(replace(evidence_of_all, draft_failure=why), thresholds) for why in ("away", None)]
    names = [check.name for verdict in verdicts for check in verdict.checks]
    row = Row("ex-1", (), "Yes.", "g", "test")
    answers = (Answer("Yes.", "stop", 1, 1),)
    item = HeldOut(row, True, Sides(0.0, 0.0), answers, answers)
    scored = evidence.scores([item], [scorers.parse_scorer({"kind": "regex", "pattern": "x"})], 0.9)
    assert [one.label for one in scored] == ["scorer 1 (regex)", "chrf"]
    rows = table("check", "asks")
    assert [row[0] for row in rows] == [*(f"`{name}`" for name in names), "`scorer N (KIND)`, `chrf`"]
    assert f"`verdict` is `{gate.PASS}`, `{gate.FAIL}` or `{gate.INSUFFICIENT}`" in PROSE
    told = {name: float(value) for row in rows for name, value in re.findall(r"`(\w+)` ([\d.]+)", row[2])}
    told |= {"confidence": float(re.findall(r"`confidence` ([\d.]+\d)", PROSE)[0])}
    assert told == asdict(thresholds)


def test_how_many_corrections_are_held_out() -> None:
    for row in table("new questions"):
        n, judge, choose, train = (int(cell) for cell in row)
        assert splits.quotas(n) == {"test": judge, "validation": choose, "train": train}
    limits = snapshot.Limits()
    fewest = next(n for n in range(1, 200) if (of := splits.quotas(n))["test"] >= limits.min_test
                  and of["train"] >= limits.min_train)  # fmt: skip
    card = json.loads(curate.curate(snapshot.Snapshot("support", (), 0, {})).card)
    (named,) = re.findall(r"in `is.card`: ([^.]+)\.", PROSE)
    assert set(CODE.findall(named)) <= set(card)
    assert f"{fewest} are the fewest for a first run ({limits.min_train} rows to train on, {limits.min_test} q" in PROSE
    assert f"a later one also needs {limits.min_new_test} new questions" in PROSE
    assert (
        f"at most {limits.author_rows} corrections are taken into a dataset, or {limits.author_share:.0%} of" in PROSE
    )
    assert f"under {limits.min_width} columns" in PROSE
    assert f"over {limits.max_width} columns, or its conversation over {limits.max_prompt_width}" in PROSE
    assert f"over {screening.RAW_FACTOR * limits.max_prompt_width} characters as it was sent" in PROSE


def test_the_guards_of_a_rollout_and_what_they_do_not_count() -> None:
    rows = {row[0].strip("`"): row[1] for row in table("guard", "counts")}
    assert tuple(rows) == tuple(guard.name for guard in analysis.GUARDS)
    assert f"within {analysis.FIRST_TOKEN_MS / 1000:g} s" in rows["first token"]
    assert f"over {analysis.END_TO_END_MS / 1000:g} s" in rows["end to end"]
    told = {name: set(CODE.findall(row[1])) for row in table("request has") for name in CODE.findall(row[0])}
    few, key = asking.FEW_TOKENS - 1, records.Key("k", "h", "app", "t", frozenset({"extensions"}))
    values: dict[str, object] = {"logit_bias": {"1": 1}, "allowed_token_ids": [1], "ignore_eos": True, "stop": "a"}
    values |= {"stop_token_ids": [1], "max_tokens": few, "max_completion_tokens": few, "temperature": 1.1}
    values |= {"frequency_penalty": -1, "presence_penalty": -1}
    question = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    held = {
        name: asking.understand({**question, name: value}, True, key, None, None).excused
        for name, value in values.items()
    }
    assert told == held and f"under {asking.FEW_TOKENS}" in PROSE
    assert {*asking.WHICH_TOKENS, *asking.WHERE_TO_STOP, *asking.PENALTIES} <= set(told)


def test_what_a_stage_needs() -> None:
    shown = [tuple(int(cell) for cell in row) for row in table("weight", "units")]
    assert shown == [
        (
            stage.weight,
            math.ceil(stage.min_units * 100 / stage.weight),
            math.ceil(stage.min_requests * 100 / stage.weight),
        )
        for stage in records.DEFAULT_STAGES
    ]
    stage = records.DEFAULT_STAGES[0]
    assert f"`deadline_s` ({stage.deadline_s:g})" in PROSE
    assert f"defaults of {stage.min_units} units and {stage.min_requests} requests" in PROSE
    (example,) = re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert policies.parse_stages(json.loads(example))


def test_limits() -> None:
    rows = table("limit", "value")
    settings = asdict(Settings(Path()))
    told = {row[2].strip("`"): float(row[1]) for row in rows if row[2]}
    assert told == {name: settings[name] for name in told} and len(told) == 6
    assert [int(row[1]) for row in rows if not row[2]] == [
        fields.MAX_TOKENS,
        fields.MAX_CHOICES,
        fields.MAX_MESSAGES,
        events.MAX_NAME_CHARS,
        replies.MAX_DEPTH,
        connection.MAX_HEAD_BYTES,
        connection.HEAD_S,
        replies.BODY_PAUSE_S,
        connection.READ_S,
        feedback_api.MAX_BYTES_BY_TOKEN,
        saying.MAX_TEXT,
        saying.MAX_TAGS,
        saying.MAX_METRICS,
        policies.MAX_SCORERS,
        policies.MAX_STAGES,
        policies.MAX_TERMS,
        policies.MAX_TERM_CHARS,
    ]


def test_error_codes() -> None:
    """Every literal code of an error raised in what answers requests; those that are passed on are named here."""
    held: dict[int, set[str]] = {400: {"context_length_exceeded"}, 500: {"internal_error"}, 503: {"engine_failed"}}
    held[405] = {"method_not_allowed"}
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.RequestError)]
    for kind in kinds:
        held.setdefault(kind.status, set()).update({kind.usual_code} - {None})
    for file in (file for name in ("serving", "thumbwheel") for file in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                kind = getattr(errors, node.func.id, None)
                if kind in kinds and kind not in (errors.MethodNotAllowed, errors.RequestError):
                    has_code = kind.usual_code or any(word.arg == "code" for word in node.keywords)
                    assert has_code, f"{file.name}:{node.lineno} raises a {kind.__name__} without a code"
                for word in node.keywords:
                    if kind is not None and word.arg == "code" and isinstance(word.value, ast.Constant):
                        held.setdefault(kind.status, set()).add(str(word.value.value))
    told = {int(row[0]): CODE.findall(row[1]) for row in table("status", "codes")}
    assert told == {status: sorted(codes) for status, codes in held.items()}


def test_what_is_not_there_yet() -> None:
    told = [code for row in table("part", "now") for code in CODE.findall(row[0])]
    later = [f"{key}: {value}" for key, values in policies.LATER.items() for value in values]
    assert told[: len(later)] == later
    assert {*fields.LATER, asking.PIN_HEADER, "margins"} <= set(told)
    assert {"author", "expert", "teacher"} <= set(keys.RIGHTS)


def test_roles_and_trust() -> None:
    told = {row[0].strip("`"): CODE.findall(row[1]) for row in table("role", "is", "its word")}
    assert set(told) == {roles.EXPERT, roles.USER, roles.TEACHER, roles.VERIFIER}
    rights = {role: right for role, codes in told.items() for right in codes}
    assert all(roles.role_of([right]) == role for role, right in rights.items())
    assert set(rights) == {roles.EXPERT, roles.TEACHER} and set(rights.values()) <= set(keys.RIGHTS)
    assert [row[0].strip("`") for row in table("`trust`", "a correction is learnt from")] == list(
        policies.CHOICES["trust"]
    )


# commands


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands() -> list[dict[str, Any]]:
    """Each curl of the page: its method, listener, path, headers and body."""
    lines = "\n".join(blocks()[1:]).replace("\\\n", " ").splitlines()
    found = []
    for line in filter(None, lines):
        program, *words = shlex.split(line)
        assert program == "curl"
        asked: dict[str, Any] = {"headers": {}, "method": None, "body": None}
        while words:
            word = words.pop(0)
            if word == "-X":
                asked["method"] = words.pop(0)
            elif word == "-H":
                name, _, value = words.pop(0).partition(": ")
                asked["headers"][name.lower()] = value
            elif word == "-d":
                asked["body"] = words.pop(0)
            else:
                asked["listener"], _, asked["path"] = word.lstrip("$").partition("/")
        asked["method"] = asked["method"] or ("GET" if asked["body"] is None else "POST")
        found.append(asked)
    return found


def test_finding_the_service(tmp_path: Path) -> None:
    home = tmp_path / ".thumbwheel"
    (home / "keys").mkdir(parents=True)
    (home / "endpoints.json").write_text('{"api": "http://a", "admin": "http://b"}')
    for kind in ("app", "admin"):
        (home / "keys" / f"{kind}.key").write_text(f"key-{kind}\n")
    script = blocks()[0] + 'echo "$api $admin $app_key $admin_key"'
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "http://a http://b key-app key-admin\n"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "home") as made:
        made.engine.parts = [b'{"choices": [{"message": {"content": "Hm."}, "finish_reason": "stop"}]}']
        yield made


async def say(gateway: Worker, asked: Mapping[str, Any], ids: Mapping[str, str]) -> httpx.Response:
    """What the page's command gets, with its placeholders filled in."""
    path, body = asked["path"], asked["body"]
    for name, id_ in ids.items():
        path, body = path.replace(name, id_), body and body.replace(name, id_)
    client = getattr(gateway, asked["listener"])
    key = {"api": "app_key", "admin": "admin_key"}[asked["listener"]]
    assert asked["headers"].pop("authorization") == f"Bearer ${key}"
    assert (body is None) == ("content-type" not in asked["headers"]) or asked["method"] == "POST"
    return await client.request(asked["method"], "/" + path, content=body, headers=asked["headers"])


def ingested(gateway: Worker) -> None:
    """The consumer's part, once."""
    store, log = gateway.gateway.parts.store, SqliteEventLog(gateway.gateway.parts.home.events)
    for at in consumer.take_partitions(store, log):
        ingest.step(store, log, at, 0)
    log.close()


def judged(gateway: Worker, run: str, folder: Path) -> None:
    """The evaluation's part: the run ends, with a report."""
    folder.mkdir()
    (folder / "report.json").write_text("{}")
    (folder / "report.md").write_text("**Pass.**\n")
    sha = ArtifactStore(gateway.gateway.parts.home.artifacts).publish(folder, "report", {})
    with gateway.gateway.parts.store.write() as tx:
        release_rows.save_run(tx, replace(release_rows.get_run(tx, run), state="candidate", report=sha))


def draft(gateway: Worker, channel: str) -> str:
    with gateway.gateway.parts.store.write() as tx:
        made = records.Release("rel-new", channel, "draft", "main", "m", None, None, None, None, None, 0, 1)
        release_rows.insert_release(tx, made)
    return made.id


async def test_the_pages_commands_and_the_shapes_of_what_they_get(gateway: Worker, tmp_path: Path) -> None:
    with gateway.gateway.parts.store.write() as tx:
        fleet_rows.put_engine(tx, records.Engine("e", "main", "vllm", "/run/e.sock", "base", "i", "starting"))
    ids: dict[str, str] = {}
    shapes: dict[str, Mapping[str, Any]] = {}
    for asked in commands():
        if "FEEDBACK" in asked["path"]:
            ingested(gateway)
        if "/report" in asked["path"] and not (tmp_path / "report").exists():
            judged(gateway, ids["RUN"], tmp_path / "report")
        if asked["path"].endswith("/rollback"):
            release = draft(gateway, "helpdesk")
            rollouts = "/admin/v1/channels/helpdesk/rollouts"
            assert (await gateway.admin.post(rollouts, json={"release": release})).status_code == 200
        told = await say(gateway, asked, ids)
        assert told.is_success, (asked, told.text)
        if asked["path"].endswith("completions"):
            ids["ANSWER"] = told.json()["id"]
            assert gateway.noted.events[-1].unit == "user-17"
        elif asked["path"] == "v1/feedback":
            ids["FEEDBACK"] = told.json()["id"]
        elif asked["path"].endswith("/runs"):
            ids["RUN"] = told.json()["id"]
        elif asked["path"].endswith("RUN"):
            shapes["`runs/{id}`"] = told.json()
        elif asked["path"].endswith("FEEDBACK"):
            shapes["`/v1/feedback/{id}`"] = told.json()
        elif asked["path"].endswith("rollback"):
            shapes["`channels/{name}`"], shapes["`rollout` of a channel"] = told.json(), told.json()["rollout"]
    for route in ("releases", "lineage"):
        shapes[f"`{route}/{{id}}`"] = (await gateway.admin.get(f"/admin/v1/{route}/rel-new")).json()
    shapes["a check in a report"] = asdict(gate.Check("x", "pass", None, None, None, ""))
    assert {row[0]: set(CODE.findall(row[1])) for row in table("route", "keys")} == {
        name: set(shape) for name, shape in shapes.items()
    }


async def test_each_route_that_is_not_there_yet(gateway: Worker) -> None:
    body = {"model": "support", "messages": [{"role": "user", "content": "x"}]}
    pinned = await gateway.api.post("/v1/chat/completions", json=body, headers={asking.PIN_HEADER: "rel-1"})
    apart = await gateway.api.post("/v1/chat/completions", json={**body, "thumbwheel": {}})
    assert [pinned.status_code, apart.status_code] == [400, 400]
    assert (await gateway.api.get("/v1/models/support")).status_code == 404
    for later in ({"compression": "merge"}, {"stages": [{"weight": 100, "margins": {}}]}):
        assert (await gateway.admin.put("/admin/v1/channels/support", json=later)).status_code == 400


def without_nulls(value: Any) -> Any:
    return {key: part for key, part in value.items() if part is not None} if isinstance(value, dict) else value


def test_other_wordings() -> None:
    assert [row[0].strip("`") for row in table("kind", "is")] == list(policies.AUGMENT_KINDS)
    assert f"groups of 2 to {policies.MAX_GROUP} words" in PROSE
    assert f"At most {policies.MAX_PER_ROW} of one row" in PROSE
    assert f"{noise.RATE:.0%} of the letters" in PROSE and f"with {noise.LEAST_LETTERS} letters and more" in PROSE
    assert f"`--limit` ({rewording.LIMIT}) wordings" in PROSE


def test_the_page_s_mix_and_wordings_are_taken() -> None:
    defaults, examples = (re.findall(rf'{begins}`(\{{"(?:shares|kinds)": .+?\}})`', PAGE) for begins in (r"\| ", "\n"))
    for text in (*defaults, *examples):
        body = json.loads(text)
        taken = policies.parse_mix(body) if "shares" in body else policies.parse_augment(body)
        assert (taken in (records.Mix(), records.Augment())) == (text in defaults)
    assert len(defaults) == len(examples) == 2
    assert f"under {coverage.THIN} questions" in PROSE


async def test_the_openapi_pages_say_the_same(gateway: Worker) -> None:
    paths = (await gateway.admin.get("/openapi.json")).json()["paths"]
    put = paths["/admin/v1/channels/{name}"]["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert put["properties"].keys() == asdict(records.Policies()).keys()
    for name, told in put["properties"].items():
        default = told.get("default")  # the framework leaves nulls out
        assert default == without_nulls(json.loads(json.dumps(asdict(records.Policies())[name])))
    for name, choices in policies.CHOICES.items():
        assert put["properties"][name]["enum"] == list(choices)
    kinds = put["properties"]["scorers"]["items"]["oneOf"]
    assert {one["properties"]["kind"]["const"]: tuple(one["required"][1:]) for one in kinds} == scorers.KINDS
    assert tuple(put["properties"]["clean"]["properties"]) == policies.CLEAN_KEYS
    assert tuple(put["properties"]["mix"]["properties"]) == policies.MIX_KEYS
    assert tuple(put["properties"]["augment"]["properties"]) == policies.AUGMENT_KEYS
    stage = put["properties"]["stages"]["items"]["properties"]
    assert set(stage) == set(policies.STAGE_KEYS)
    assert set(records.RUN_STATES) <= set(CODE.findall(paths["/admin/v1/runs/{run}"]["get"]["description"]))
    assert set(records.ROLLOUT_STATES) <= set(CODE.findall(paths["/admin/v1/channels/{name}"]["get"]["description"]))
    ours = (await gateway.api.get("/openapi.json")).json()["paths"]
    for told in (paths["/admin/v1/channels/{name}/ledger"], ours["/v1/feedback/{feedback}"]):
        assert set(why.EXPLAINED) <= set(CODE.findall(told["get"]["description"]))
    post = ours["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert post.keys() == {*saying.CONTENT, "inference_id", "author"}
    assert post["comment"]["maxLength"] == post["correction"]["maxLength"] == saying.MAX_TEXT
    assert (post["tags"]["maxItems"], post["metrics"]["maxProperties"]) == (
        saying.MAX_TAGS,
        saying.MAX_METRICS,
    )
    assert post["tags"]["items"]["maxLength"] == events.MAX_TAG_CHARS
    assert post["author"]["maxLength"] == events.MAX_NAME_CHARS


def test_the_tree_in_architecture_names_every_module() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"## The tree\n\n```\n(.*?)```", page, re.DOTALL)
    shown = set(re.findall(r"\w+", tree))
    for package in ("thumbwheel", "serving", "feedback", "retrain", "compress", "deploy"):
        modules = {path.stem for path in (ROOT / package).glob("*.py") if not path.stem.startswith("__")}
        assert modules <= shown, package


def test_the_readme_names_the_page() -> None:
    assert "docs/clients.md" in (ROOT / "README.md").read_text(encoding="utf-8")
