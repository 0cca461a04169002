"""The two listeners as a whole: methods, origins, what a scrape shows, and rollouts of a channel that logs nothing."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.feedback_api import TOKEN_HEADER
from serving.snapshot import Snapshot
from tests.gateway_worker import CHANNEL, Worker, worker
from thumbwheel.clock import system_clock
from thumbwheel.events import InferenceEvent
from thumbwheel.ids import feedback_token, mint_inference_id
from thumbwheel.records import Release
from thumbwheel.store import release_rows

PAGE = "https://shop.example"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Worker]:
    async with worker(tmp_path) as made:
        yield made


# methods


@pytest.mark.parametrize(
    ("listener", "method", "path", "allow"),
    [
        ("api", "GET", "/v1/chat/completions", "POST"),
        ("api", "DELETE", "/v1/completions", "POST"),
        ("api", "OPTIONS", "/v1/chat/completions", "POST"),
        ("api", "GET", "/v1/feedback", "POST"),
        ("api", "PUT", "/v1/feedback/fb-1", "GET"),
        ("api", "POST", "/v1/models", "GET"),
        ("admin", "DELETE", "/admin/v1/channels/support", "GET, PUT"),
        ("admin", "GET", "/admin/v1/channels/support/rollback", "POST"),
        ("admin", "GET", "/admin/v1/rollouts/ro-1/pause", "POST"),
        ("admin", "POST", "/metrics", "GET"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    gateway: Worker, listener: str, method: str, path: str, allow: str
) -> None:
    answer = await getattr(gateway, listener).request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "method_not_allowed")
    assert allow in error["message"]


async def test_an_unknown_route_is_still_a_404(gateway: Worker) -> None:
    for client in (gateway.api, gateway.admin):
        answer = await client.get("/v1/nowhere")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_route")


# pages of other origins


def preflight(origin: str, *headers: str) -> dict[str, str]:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": ", ".join(headers)}
    return {"origin": origin, **asked}


async def test_a_page_of_a_listed_origin_may_rate_and_read_its_token(tmp_path: Path) -> None:
    async with worker(tmp_path, cors_origins=(PAGE,)) as gateway:
        asked = preflight(PAGE, "content-type", "x-thumbwheel-feedback-token")
        allowed = await gateway.api.options("/v1/feedback", headers=asked)
        assert allowed.status_code == 200 and allowed.headers["access-control-allow-origin"] == PAGE
        assert "x-thumbwheel-feedback-token" in allowed.headers["access-control-allow-headers"].lower()
        body = {"inference_id": "x", "thumb": "up"}
        sent = {"origin": PAGE, "x-thumbwheel-feedback-token": "fbt-x"}
        refused = await gateway.api.post("/v1/feedback", json=body, headers=sent)
        assert refused.status_code == 404 and refused.headers["access-control-allow-origin"] == PAGE, "errors are read"
        gateway.engine.parts = [b'{"choices": [{"message": {"content": "Hi"}}]}']
        chat = {"model": CHANNEL, "messages": [{"role": "user", "content": "x"}]}
        answer = await gateway.api.post("/v1/chat/completions", json=chat, headers={"origin": PAGE})
        assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == PAGE
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {name for name in answer.headers if name.startswith("x-")} <= set(exposed)


@pytest.mark.parametrize(
    ("origins", "origin"), [((PAGE,), "https://evil.example"), ((), PAGE), ((PAGE,), "http://shop.example")]
)
async def test_other_pages_may_not(tmp_path: Path, origins: tuple[str, ...], origin: str) -> None:
    async with worker(tmp_path, cors_origins=origins) as gateway:
        asked = preflight(origin, "x-thumbwheel-feedback-token")
        for answer in (
            await gateway.api.options("/v1/feedback", headers=asked),
            await gateway.api.get("/v1/models", headers={"origin": origin}),
        ):
            assert "access-control-allow-origin" not in answer.headers


# metrics


def ended(channel: str) -> InferenceEvent:
    return InferenceEvent("i", "t", channel, "u", 0, "rel-1", "stable", "rel-1", "ok", e2e_ms=20.0)


def samples(text: str, name: str) -> dict[str, float]:
    """By worker; fails where a family is there twice, as a scraper would."""
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    found = [sample for family in families for sample in family.samples if sample.name == name]
    assert len(found) == len({tuple(sorted(sample.labels.items())) for sample in found})
    return {sample.labels.get("worker", ""): sample.value for sample in found}


async def test_one_scrape_shows_every_living_worker_whichever_answers(tmp_path: Path) -> None:
    root = tmp_path / ("deep" * 30)  # longer than a socket's path may be
    async with worker(root) as one:
        async with worker(root) as two:
            for _ in range(3):
                one.gateway.parts.metrics.count(ended("a"))
            two.gateway.parts.metrics.count(ended("a"))
            for gateway in (one, two):
                text = (await gateway.admin.get("/metrics")).text
                assert sorted(samples(text, "thumbwheel_requests_total").values()) == [1.0, 3.0]
                assert sorted(samples(text, "thumbwheel_end_to_end_seconds_count").values()) == [1.0, 3.0]
                assert len(samples(text, "thumbwheel_in_flight")) == 2
                assert samples(text, "thumbwheel_store_up") == {"": 1.0}
        killed = one.gateway.parts.home.workers / "worker-0.sock"
        with socket.socket(socket.AF_UNIX) as left_behind:
            left_behind.bind(f"{tmp_path}/s")
        (tmp_path / "s").rename(killed)
        text = (await one.admin.get("/metrics")).text
        assert list(samples(text, "thumbwheel_requests_total").values()) == [3.0], "a worker that ended is gone"
        assert not killed.exists()


# a worker that starts while the store is away


class NothingReadYet:
    now = Snapshot()

    async def refresh(self) -> None:
        return None


async def test_a_key_that_cannot_be_looked_up_yet_is_not_refused(gateway: Worker) -> None:
    parts = gateway.gateway.parts
    id_ = mint_inference_id("chatcmpl", CHANNEL, "default", system_clock(), parts.secret)
    token = {TOKEN_HEADER: feedback_token(id_, system_clock() + 60_000, parts.secret)}
    body = {"inference_id": id_, "thumb": "up"}
    async with gateway.replaced(watch=NothingReadYet()) as client:
        answers = [await client.get("/v1/models"), await client.post("/v1/feedback", json=body)]
        answers.append(await client.post("/v1/chat/completions", json={"model": CHANNEL}))
        del client.headers["authorization"]
        answers.append(await client.post("/v1/feedback", json=body, headers=token))
        assert (await client.get("/v1/models")).status_code == 401, "no key at all"
    for answer in answers:
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")
        assert answer.headers["retry-after"]
    accepted = await gateway.api.post("/v1/feedback", json=body, headers=token)
    assert accepted.status_code == 202


# channels that log nothing


def draft(gateway: Worker) -> Release:
    with gateway.gateway.parts.store.write() as tx:
        release = Release("rel-new", CHANNEL, "draft", "main", "m", None, None, None, None, None, 0, 1)
        release_rows.insert_release(tx, release)
    return release


async def test_no_rollout_without_a_log(gateway: Worker) -> None:
    release, path = draft(gateway), f"/admin/v1/channels/{CHANNEL}"
    assert (await gateway.admin.put(path, json={"log": "off"})).status_code == 200
    refused = await gateway.admin.post(f"{path}/rollouts", json={"release": release.id})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "channel_logs_nothing")
    assert "metadata" in refused.json()["error"]["message"]
    assert (await gateway.admin.put(path, json={"log": "metadata"})).status_code == 200
    started = await gateway.admin.post(f"{path}/rollouts", json={"release": release.id})
    assert started.status_code == 200
    refused = await gateway.admin.put(path, json={"log": "off", "train": False})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "rollout_in_progress")
    view = (await gateway.admin.get(path)).json()
    assert (view["policies"]["log"], view["policies"]["train"]) == ("metadata", True), "nothing of it was done"
    paths = (await gateway.admin.get("/openapi.json")).json()["paths"]
    assert "channel_logs_nothing" in str(paths["/admin/v1/channels/{name}/rollouts"])
    assert "rollout_in_progress" in str(paths["/admin/v1/channels/{name}"])
