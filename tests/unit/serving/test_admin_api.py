"""The administrator's routes that are no change: what a run's report says, in both forms, and to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_worker import CHANNEL, Worker, worker
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.records import Run
from thumbwheel.store import release_rows


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path / "home") as made:
        yield made


def judged(gateway: Worker, folder: Path) -> Run:
    """A run that has been evaluated, with its report published."""
    folder.mkdir()
    (folder / "report.json").write_text('{"verdict": "fail", "reasons": ["质量"]}')
    (folder / "report.md").write_text("**Fail.** 质量\n")
    sha = ArtifactStore(gateway.gateway.parts.home.artifacts).publish(folder, "report", {"run": "run-1"})
    run = Run("run-1", CHANNEL, "rejected", {}, None, None, sha, ("harm",), {}, "ann", 1, 0, 0, 1)
    with gateway.gateway.parts.store.write() as tx:
        release_rows.insert_run(tx, run)
    return run


async def test_a_runs_report_for_programs_and_for_people(gateway: Worker, tmp_path: Path) -> None:
    path = f"/admin/v1/runs/{judged(gateway, tmp_path / 'report').id}/report"
    told = await gateway.admin.get(path)
    assert (told.status_code, told.json()) == (200, {"verdict": "fail", "reasons": ["质量"]})
    read = await gateway.admin.get(path, params={"format": "md"})
    assert (read.status_code, read.text) == (200, "**Fail.** 质量\n")
    assert read.headers["content-type"] == "text/markdown; charset=utf-8"
    wrong = await gateway.admin.get(path, params={"format": "html"})
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "format")


async def test_a_report_is_the_administrators_alone(gateway: Worker, tmp_path: Path) -> None:
    path = f"/admin/v1/runs/{judged(gateway, tmp_path / 'report').id}/report"
    application = {"authorization": gateway.api.headers["authorization"]}
    assert (await gateway.admin.get(path, headers=application)).status_code == 401


async def test_a_run_without_a_report_says_so(gateway: Worker) -> None:
    started = (await gateway.admin.post(f"/admin/v1/channels/{CHANNEL}/runs", json={})).json()
    for run, code in ((started["id"], "no_report"), ("run-nowhere", "run_not_found")):
        told = await gateway.admin.get(f"/admin/v1/runs/{run}/report")
        assert (told.status_code, told.json()["error"]["code"]) == (404, code)


async def test_a_damaged_report_is_not_shown(gateway: Worker, tmp_path: Path) -> None:
    run = judged(gateway, tmp_path / "report")
    file = gateway.gateway.parts.home.artifacts / str(run.report) / "report.json"
    file.chmod(0o600)
    file.write_text('{"verdict": "pass", "reasons": []}')
    told = await gateway.admin.get(f"/admin/v1/runs/{run.id}/report")
    assert (told.status_code, told.json()["error"]["code"]) == (400, "artifact_unusable")


async def test_no_run_starts_where_nothing_may_be_learnt(gateway: Worker) -> None:
    path = f"/admin/v1/channels/{CHANNEL}"
    await gateway.admin.put(path, json={"train": False})
    refused = await gateway.admin.post(f"{path}/runs", json={})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (409, "training_not_permitted", "train")
    assert error["type"] == "conflict_error" and "`train`" in error["message"]
    assert (await gateway.admin.get(path)).json()["runs"] == []
    await gateway.admin.put(path, json={"train": True})
    assert (await gateway.admin.post(f"{path}/runs", json={})).status_code == 202
    await gateway.admin.put(path, json={"train": False})
    assert (await gateway.admin.post(f"{path}/runs", json={})).status_code == 409


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"trian": True}, "trian", "unknown_field"),
        ({"train": "yes"}, "train", "invalid_value"),
        ({"compression": "merge"}, "compression", "not_available_yet"),
        ({"mix": {"share": {}}}, "mix.share", "unknown_field"),
        ({"mix": {"shares": {"a": 0.5}}}, "mix.shares", "invalid_value"),
        ({"clean": {"deny": []}}, "clean.deny", "unknown_field"),
        ({"augment": {"kind": []}}, "augment.kind", "unknown_field"),
        ({"scorers": [{"kind": "regex"}]}, "scorers.pattern", "missing_field"),
        ({"scorers": [{"kind": "exact", "x": 1}]}, "scorers.x", "unknown_field"),
        ({"stages": [{"weight": 100, "min_user": 1}]}, "stages.min_user", "unknown_field"),
        ({"stages": [{"weight": 100, "margins": {}}]}, "stages.margins", "not_available_yet"),
    ],
)
async def test_every_refusal_of_a_policy_has_its_code(
    gateway: Worker, body: dict[str, Any], param: str, code: str
) -> None:
    told = await gateway.admin.put(f"/admin/v1/channels/{CHANNEL}", json=body)
    error = told.json()["error"]
    assert (told.status_code, error["type"], error["param"], error["code"]) == (
        400,
        "invalid_request_error",
        param,
        code,
    )


async def test_what_is_asked_of_the_wrong_thing_has_a_code_too(gateway: Worker) -> None:
    plain = await gateway.admin.post("/admin/v1/channels", content=b"{}")
    assert (plain.status_code, plain.json()["error"]["code"]) == (405, "method_not_allowed")
    sent = await gateway.admin.post(f"/admin/v1/channels/{CHANNEL}/runs", content=b"a=1")
    assert (sent.status_code, sent.json()["error"]["code"]) == (415, "unsupported_media_type")
    back = await gateway.admin.post(f"/admin/v1/channels/{CHANNEL}/rollback")
    assert (back.status_code, back.json()["error"]["code"]) == (409, "wrong_state")
    run = (await gateway.admin.post(f"/admin/v1/channels/{CHANNEL}/runs", json={})).json()["id"]
    early = (await gateway.admin.post(f"/admin/v1/runs/{run}/approve")).json()["error"]
    assert (early["type"], early["param"], early["code"]) == ("conflict_error", run, "wrong_state")
    for path, body, param in (
        (f"/admin/v1/channels/{CHANNEL}/rollouts", {"release": "rel-none"}, "release"),
        ("/admin/v1/rollouts/ro-none/pause", {}, "rollout"),
        ("/admin/v1/runs/run-none/reject", {}, "run"),
    ):
        lost = (await gateway.admin.post(path, json=body)).json()["error"]
        assert (lost["type"], lost["param"], lost["code"]) == ("invalid_request_error", param, f"{param}_not_found")
    listed = await gateway.admin.get(f"/admin/v1/channels/{CHANNEL}/reviews", params={"sample": "many"})
    assert (listed.json()["error"]["param"], listed.json()["error"]["code"]) == ("sample", "invalid_value")


async def test_what_is_wrong_with_policies_is_said_without_the_store(gateway: Worker) -> None:
    """A schema may take seconds to check: rollbacks and other workers must not wait for it."""
    with gateway.gateway.parts.store.write():
        told = await gateway.admin.put(f"/admin/v1/channels/{CHANNEL}", json={"scorers": [{"kind": "regex"}]})
    assert (told.status_code, told.json()["error"]["param"]) == (400, "scorers.pattern")
