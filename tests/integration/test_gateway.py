"""The gateway as a process, over HTTP, beside the recorded engine: asking, feedback, faults, administration."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.gateway_fixture import (
    CHANNEL,
    HALF,
    POOL,
    Service,
    consuming,
    gateway_alone,
    logged_inferences,
    serving,
    until,
)
from thumbwheel.clock import system_clock
from thumbwheel.emergency import clear_emergency, read_emergency
from thumbwheel.home import read_secret
from thumbwheel.ids import feedback_token, mint_inference_id
from thumbwheel.records import Engine, Stage
from thumbwheel.routing import assign, point
from thumbwheel.store import fleet_rows, release_rows

TAUGHT = {"answers": {"which colour?": "Blue, as ever."}}
WHOLE = (Stage(100.0),)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("shared"), max_body_bytes=100_000) as running:
        yield running


@pytest.fixture
def service(shared: Service) -> Iterator[Service]:
    """The shared service, left without faults and without a rollout."""
    yield shared
    shared.faults()
    with shared.store.read() as tx:
        active = release_rows.rollouts_in(tx, ("running", "paused", "held"))
    for rollout in active:
        assert shared.manage("POST", f"/rollouts/{rollout.id}/abort").status_code == 200


def sdk(service: Service) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service.api}/v1", api_key=service.keys["app"], max_retries=0, timeout=20)


def error_of(response: httpx.Response) -> dict[str, str | None]:
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "/work" not in error["message"] and "/tmp" not in error["message"] and "Traceback" not in error["message"]
    return error


def unit_of(service: Service, role: str) -> str:
    """A unit that the channel's table gives to that role."""
    channel = service.channel()
    return next(unit for n in range(10_000) if assign(channel, unit := f"{channel.rollout} {n}").role == role)


def answered_by(service: Service, release: str, response: httpx.Response) -> httpx.Response | None:
    return response if response.headers.get("x-thumbwheel-release") == release else None


# asking


def test_the_openai_client_asks_and_streams(service: Service) -> None:
    messages = [{"role": "user", "content": "hello there"}]
    raw = sdk(service).chat.completions.with_raw_response.create(model=CHANNEL, messages=messages, user="ann")  # type: ignore[arg-type]
    answer = raw.parse()
    assert answer.model == CHANNEL
    assert answer.choices[0].message.content
    assert raw.headers["x-thumbwheel-variant"] == "stable"
    assert raw.headers["x-thumbwheel-release"] == service.channel().stable
    assert raw.headers["x-request-id"] == answer.id

    stream = sdk(service).chat.completions.create(
        model=CHANNEL,
        messages=messages,  # type: ignore[arg-type]
        user="ann",
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1 and chunks[0].id.startswith("chatcmpl-")
    assert {chunk.model for chunk in chunks} == {CHANNEL}
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content
    assert chunks[-1].usage is not None and chunks[-1].usage.completion_tokens > 0

    logged = service.inference(chunks[0].id)
    assert (logged.status, logged.unit, logged.answer, logged.streamed) == ("ok", "ann", text, True)
    assert logged.ttft_ms is not None and logged.e2e_ms is not None and 0 < logged.ttft_ms <= logged.e2e_ms
    assert logged.completion_tokens == chunks[-1].usage.completion_tokens


def test_an_unasked_usage_is_counted_and_not_shown(service: Service) -> None:
    lines = service.chat(stream=True).text.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    assert all("usage" not in chunk and chunk["choices"] for chunk in chunks)
    assert lines[-2] == "data: [DONE]"
    assert service.inference(chunks[0]["id"]).completion_tokens


def test_the_engine_gets_its_own_name_the_same_id_and_only_what_it_honours(service: Service) -> None:
    answer = service.chat("only once", seed=7, store=True, metadata={"a": "b"}, user="eve", temperature=0.5).json()
    seen = next(e for e in service.asked() if e.get("id") == answer["id"].partition("-")[2] and "body" in e)
    body = seen["body"]
    assert seen["model"] == "base"
    assert (body["seed"], body["temperature"]) == (7, 0.5)
    assert not {"user", "store", "metadata", "safety_identifier"} & set(body)


def test_completions(service: Service) -> None:
    answer = sdk(service).completions.create(model=CHANNEL, prompt="once upon a time", max_tokens=5)
    assert answer.id.startswith("cmpl-") and answer.choices[0].text
    streamed = list(sdk(service).completions.create(model=CHANNEL, prompt="once upon", max_tokens=5, stream=True))
    assert {chunk.id for chunk in streamed} == {streamed[0].id} and streamed[0].id.startswith("cmpl-")
    assert "".join(chunk.choices[0].text for chunk in streamed)


def test_an_assistant_message_sent_back_as_it_came(service: Service) -> None:
    said = {"role": "assistant", "content": "Hi.", "refusal": None, "annotations": None, "audio": None}
    messages = [{"role": "user", "content": "hello"}, {**said, "function_call": None, "reasoning": None}]
    assert service.chat(messages=[*messages, {"role": "user", "content": "and?"}]).status_code == 200


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"colour": 1}, "colour"),
        ({"temperature": 3}, "temperature"),
        ({"n": 1000}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"thumbwheel": {}}, "thumbwheel"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "shoe": 1}]}, "messages[0].shoe"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
        ({"stream": "yes"}, "stream"),
    ],
)
def test_a_wrong_field_is_named(service: Service, fields: dict[str, object], param: str) -> None:
    response = service.chat(**fields)
    assert response.status_code == 400
    assert error_of(response)["param"] == param


def test_extensions_go_by_right(service: Service) -> None:
    refused = service.chat(top_k=5)
    assert (refused.status_code, error_of(refused)["param"]) == (403, "top_k")
    assert service.chat(key="rich", top_k=5).status_code == 200


def test_pinning_is_a_later_order(service: Service) -> None:
    headers = {**service.headers("rich"), "x-thumbwheel-release": "rel-1"}
    body = {"model": CHANNEL, "messages": [{"role": "user", "content": "x"}]}
    response = httpx.post(f"{service.api}/v1/chat/completions", json=body, headers=headers)
    assert (response.status_code, error_of(response)["param"]) == (400, "x-thumbwheel-release")


def test_what_is_wrong_with_the_body_is_said(service: Service) -> None:
    def post(content: bytes, kind: str = "application/json") -> httpx.Response:
        headers = {**service.headers(), "content-type": kind}
        return httpx.post(f"{service.api}/v1/chat/completions", content=content, headers=headers)

    assert post(b"{}", "text/plain").status_code == 415
    assert post(b"{" + b" " * 100_001 + b"}").status_code == 413
    for content, code in (
        (b"[" * 50_000, "nested_too_deeply"),
        (b'{"model": ' + b"[" * 65 + b"]" * 65 + b"}", "nested_too_deeply"),
        (b'{"model": "support"', "malformed_json"),
        (b"\xff\xfe", "malformed_json"),
        (b"[]", "malformed_json"),
        (b'{"model": "support", "temperature": NaN}', "malformed_json"),
    ):
        response = post(content)
        assert (response.status_code, error_of(response)["code"]) == (400, code), content[:20]


def test_keys_and_channels_that_are_unknown(service: Service) -> None:
    body = {"model": CHANNEL, "messages": [{"role": "user", "content": "x"}]}
    url = f"{service.api}/v1/chat/completions"
    assert httpx.post(url, json=body).status_code == 401
    assert httpx.post(url, json=body, headers={"authorization": "Bearer tw-app-wrong"}).status_code == 401
    assert httpx.post(url, json=body, headers=service.headers("admin")).status_code == 401
    missing = service.chat(model="nobody")
    assert (missing.status_code, error_of(missing)["code"]) == (404, "model_not_found")
    assert missing.headers["x-request-id"].startswith("req-"), "an error can be reported by its id too"
    base = service.chat(model="base")
    assert base.status_code == 404, "an engine's own names are no channels"
    assert httpx.get(f"{service.api}/nowhere").status_code == 404
    for path in ("chat/completions", "completions", "feedback"):
        wrong = httpx.get(f"{service.api}/v1/{path}")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert error_of(wrong)["code"] == "method_not_allowed"


def test_models(service: Service) -> None:
    listed = [model.id for model in sdk(service).models.list()]
    assert listed == [CHANNEL]
    rich = httpx.get(f"{service.api}/v1/models", headers=service.headers("rich")).json()
    assert service.channel().stable in [model["id"] for model in rich["data"]]


def test_context_length_is_the_clients_and_passes_through(service: Service) -> None:
    response = service.chat("word " * 3000, user="long")
    assert (response.status_code, error_of(response)["code"]) == (400, "context_length_exceeded")
    much = service.chat("word", user="much", max_tokens=100_000)
    assert (much.status_code, error_of(much)["code"], error_of(much)["param"]) == (
        400, "context_length_exceeded", "max_tokens",
    )  # fmt: skip
    logged = until(lambda: next((e for e in service.inferences() if e.unit == "long"), None))
    assert logged.status == "client_error"


def test_store_false_and_the_channels_policy_keep_text_out_of_the_log(service: Service) -> None:
    kept = service.inference(service.chat("a secret", store=False).json()["id"])
    assert (kept.messages, kept.answer, kept.trainable) == (None, None, False)
    for policy in ("metadata", "off", "full"):
        assert service.manage("PUT", f"/channels/{CHANNEL}", {"log": policy, "train": policy != "metadata"}).is_success
        id_ = service.chat("another secret").json()["id"]
        if policy == "off":
            marker = service.chat("x", model=CHANNEL).json()["id"]
            time.sleep(0.5)
            assert not {id_, marker} & {event.id for event in service.inferences()}
            continue
        logged = service.inference(id_)
        assert (logged.answer is None) == (policy == "metadata") and logged.trainable == (policy == "full")
        assert logged.completion_tokens


def test_faults_of_an_answer_are_flagged(service: Service) -> None:
    service.faults(text="")
    assert service.inference(service.chat().json()["id"]).flags == ["empty"]
    service.faults(text="na " * 60)
    assert service.inference(service.chat().json()["id"]).flags == ["degenerate"]
    service.faults(
        text="Shoes come in red, hats in blue and coats in green; socks, gloves and scarves in all of these."
    )
    assert service.inference(service.chat(max_tokens=16).json()["id"]).flags == ["truncated"]
    assert service.inference(service.chat(max_tokens=3).json()["id"]).flags == [], "the client's own doing"


# feedback


def test_feedback_is_idempotent_and_found(service: Service) -> None:
    id_ = service.chat("which colour?").json()["id"]
    first = service.feedback(id_, thumb="down", correction="Red.")
    assert first.status_code == 202 and first.json()["state"] == "waiting"
    again = service.feedback(id_, correction="Red.", thumb="down")
    other = service.feedback(id_, thumb="up")
    assert again.json()["id"] == first.json()["id"] != other.json()["id"]
    with consuming(service):
        url = f"{service.api}/v1/feedback/{first.json()['id']}"
        view = httpx.get(url, headers=service.headers()).json()
        assert view["inference_id"] == id_ and view["state"] in ("waiting", "refused") and view["reason"]
        assert httpx.get(url, headers=service.headers("other")).status_code == 403
        assert httpx.get(url).status_code == 401
        missing = httpx.get(f"{service.api}/v1/feedback/fb-nothing", headers=service.headers())
        assert missing.status_code == 404


def test_a_second_word_is_seen_to_supersede_the_first(service: Service) -> None:
    id_ = service.chat("which size?").json()["id"]

    def said(**content: str) -> str:
        return service.feedback(id_, **content).json()["id"]

    def standing(feedback: str) -> tuple[str, str]:
        view = httpx.get(f"{service.api}/v1/feedback/{feedback}", headers=service.headers()).json()
        return view["state"], view["reason"]

    with consuming(service):
        service.inference(id_)
        first = said(thumb="down")
        assert standing(first) == ("waiting", "no_correction")
        second = said(correction="Large.")
        assert standing(first) == ("refused", "superseded")
        assert standing(second) == ("waiting", "no_run_yet")
        assert said(thumb="down") == first
        assert standing(first) == ("waiting", "no_correction"), "the latest counts, also where it was said before"


def test_feedback_by_token_alone(service: Service) -> None:
    answer = service.chat()
    id_, token = answer.json()["id"], answer.headers["x-thumbwheel-feedback-token"]
    assert service.feedback(id_, key=None, token=token, thumb="up").status_code == 202
    assert service.feedback(id_, key=None, thumb="up").status_code == 401
    assert service.feedback(service.chat().json()["id"], key=None, token=token, thumb="up").status_code == 403
    forged = token[:-1] + ("0" if token[-1] != "0" else "1")
    assert service.feedback(id_, key=None, token=forged, thumb="up").status_code == 401
    expired = feedback_token(id_, system_clock() - 1, read_secret(service.home))
    late = service.feedback(id_, key=None, token=expired, thumb="up")
    assert (late.status_code, error_of(late)["code"]) == (401, "expired")


def test_feedback_foreign_forged_and_late(service: Service) -> None:
    id_ = service.chat().json()["id"]
    assert service.feedback(id_, key="other", thumb="up").status_code == 403
    forged = id_[:-1] + ("0" if id_[-1] != "0" else "1")
    for wrong in (forged, "chatcmpl-abc", "x", "chatcmpl-" + "é" * 48):
        assert service.feedback(wrong, thumb="up").status_code == 404, wrong
    window_ms = 31 * 24 * 3600 * 1000
    old = mint_inference_id("chatcmpl", CHANNEL, "default", system_clock() - window_ms, read_secret(service.home))
    late = service.feedback(old, thumb="up")
    assert (late.status_code, error_of(late)["code"]) == (400, "feedback_window_closed")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, None),
        ({"thumb": "sideways"}, "thumb"),
        ({"score": 2}, "score"),
        ({"score": True}, "score"),
        ({"correction": ""}, None),  # as if left out
        ({"correction": " "}, "correction"),
        ({"correction": "x" * 70_000}, "correction"),
        ({"tags": ["", "a"]}, "tags"),
        ({"metrics": {"a": "b"}}, "metrics.a"),
        ({"thumb": "up", "mood": 1}, "mood"),
        ({"author": "ann"}, None),
    ],
)
def test_feedback_that_is_wrong_names_the_field(service: Service, fields: dict[str, object], param: str | None) -> None:
    response = service.feedback(service.chat().json()["id"], key="rich", **fields)
    assert response.status_code == 400
    assert error_of(response)["param"] == param


def test_naming_an_author_needs_the_right(service: Service) -> None:
    id_ = service.chat().json()["id"]
    assert service.feedback(id_, thumb="up", author="expert-1").status_code == 403
    assert service.feedback(id_, key="rich", thumb="up", author="expert-1").status_code == 202


def test_the_ledger_counts_what_the_store_has_not_seen(service: Service) -> None:
    before = service.manage("GET", f"/channels/{CHANNEL}/ledger").json()
    id_ = service.chat().json()["id"]
    for text in ("a", "b", "b"):
        assert service.feedback(id_, correction=text).status_code == 202
    during = service.manage("GET", f"/channels/{CHANNEL}/ledger").json()
    assert during["acknowledged"] == before["acknowledged"] + 2
    service.inference(id_)
    service.ingest()
    after = service.manage("GET", f"/channels/{CHANNEL}/ledger").json()
    for ledger in (before, during, after):
        parts = [ledger["used"], *ledger["refused"].values(), *ledger["waiting"].values()]
        assert ledger["acknowledged"] == sum(parts)
    assert after["acknowledged"] == during["acknowledged"]


# releases that fail


def test_a_candidates_units_are_answered_by_it(service: Service) -> None:
    rollout = service.roll_out(service.release(TAUGHT))
    unit = unit_of(service, "candidate")
    answer = until(lambda: answered_by(service, rollout.release, service.chat("which colour?", user=unit)))
    assert answer.json()["choices"][0]["message"]["content"] == "Blue, as ever."
    assert answer.headers["x-thumbwheel-variant"] == "candidate"
    logged = service.inference(answer.json()["id"])
    assert (logged.assigned, logged.served_by, logged.rollout) == (rollout.release, rollout.release, rollout.id)
    assert service.chat("which colour?", user=unit_of(service, "stable")).headers["x-thumbwheel-variant"] == "stable"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 404}, {"die_mid_stream": True}])
def test_a_candidates_failure_is_asked_of_stable(service: Service, fault: dict[str, object], stream: bool) -> None:
    release = service.release(TAUGHT)
    rollout = service.roll_out(release)
    unit = unit_of(service, "candidate")
    until(lambda: service.chat(user=unit).headers.get("x-thumbwheel-release") == release.id)
    service.faults(models=["adapter-*"], **fault)
    answer = service.chat("which colour?", user=unit, stream=stream)
    assert answer.status_code == 200
    if stream and "die_mid_stream" in fault:  # two tokens were out already: nothing can be asked again
        assert '"engine_failed"' in answer.text and "[DONE]" not in answer.text
        return
    assert answer.headers["x-thumbwheel-variant"] == "stable"
    id_ = answer.headers["x-request-id"]
    logged = service.inference(id_)
    assert (logged.assigned, logged.role, logged.rollout) == (release.id, "candidate", rollout.id)
    assert (logged.served_by, logged.status) == (service.channel().stable, "release_error")
    assert logged.answer


@pytest.mark.parametrize("behaviour", [{**TAUGHT, "refuse": True}, None])
def test_a_release_that_never_answered_gets_no_traffic(service: Service, behaviour: dict[str, object] | None) -> None:
    release = service.release(behaviour) if behaviour else service.bare_release("0" * 64)
    service.roll_out(release)
    answer = service.chat(user=unit_of(service, "candidate"))
    assert answer.status_code == 200 and answer.headers["x-thumbwheel-variant"] == "stable"
    logged = service.inference(answer.json()["id"])
    assert (logged.assigned, logged.status) == (release.id, "release_error")
    asked = [entry for entry in service.asked() if entry.get("model") == release.served_name]
    assert {entry["id"] for entry in asked} == {"probe"}


def test_a_clients_error_counts_against_nobody(service: Service) -> None:
    release = service.release(TAUGHT)
    service.roll_out(release)
    unit = unit_of(service, "candidate")
    until(lambda: service.chat(user=unit).headers.get("x-thumbwheel-release") == release.id)
    response = service.chat(
        f"LoRA adapter '{release.served_name}' was found but could not be loaded. " * 200, user=unit
    )
    assert response.status_code == 400
    logged = until(lambda: [e for e in service.inferences() if e.unit == unit and e.status != "ok"])
    assert [event.status for event in logged] == ["client_error"]


def test_what_breaks_both_releases_is_no_candidates_failure(service: Service) -> None:
    service.roll_out(service.release(TAUGHT))
    unit = unit_of(service, "candidate")
    until(lambda: service.chat(user=unit).headers.get("x-thumbwheel-variant") == "candidate")
    service.faults(status=500)
    response = service.chat(user=unit)
    assert response.status_code == 503 and response.headers["retry-after"]
    error_of(response)
    logged = until(lambda: [e for e in service.inferences() if e.unit == unit and e.status != "ok"])
    assert {event.status for event in logged} == {"unavailable"}


# engines


def test_an_engine_that_dies_mid_stream(service: Service) -> None:
    service.faults(die_mid_stream=True)
    with pytest.raises(openai.APIError, match="stopped in the middle"):
        list(
            sdk(service).chat.completions.create(
                model=CHANNEL, messages=[{"role": "user", "content": "x"}], stream=True
            )
        )
    text = service.chat(stream=True).text
    assert "[DONE]" not in text
    last = json.loads(text.strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["error"]["code"] == "engine_failed"


def test_a_client_that_leaves_cancels_the_engines_work(service: Service) -> None:
    service.faults(token_ms=100)
    body = {"model": CHANNEL, "messages": [{"role": "user", "content": "leaving"}], "user": "gone"}
    url = f"{service.api}/v1/chat/completions"
    with httpx.stream("POST", url, json={**body, "stream": True}, headers=service.headers(), timeout=10) as response:
        next(response.iter_lines())
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(url, json=body, headers=service.headers(), timeout=0.3)

    def cancelled() -> bool:
        asked = {e["id"] for e in service.asked() if "leaving" in str(e.get("body"))}
        ended = [e for e in service.asked() if e["id"].partition("-")[2] in asked and e.get("end") == "cancelled"]
        return len(ended) == 2

    until(cancelled, 2)
    logged = until(lambda: [e for e in service.inferences() if e.unit == "gone"][1:])
    assert logged[0].status == "cancelled"


def test_a_request_waits_for_an_engine_that_restarts(tmp_path: Path) -> None:
    with serving(tmp_path, engine_wait_s=5) as service:
        socket_path = next(e for e in service_engines(service)).address
        put_engine(service, socket_path, "i-2", "starting")
        time.sleep(0.5)
        began = time.monotonic()
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(service.chat()))
        thread.start()
        time.sleep(1)
        put_engine(service, socket_path, "i-3", "ready")
        thread.join()
        assert answers[0].status_code == 200 and 1 <= time.monotonic() - began < 5


def test_an_engine_that_stays_away_is_a_503(tmp_path: Path) -> None:
    with serving(tmp_path, engine=False, engine_wait_s=1) as service:
        until(lambda: answers(f"{service.api}/healthz"), 30)
        ready = httpx.get(f"{service.api}/readyz")
        assert ready.status_code == 503 and ready.json()["waiting_for"] == ["the base", f"channel {CHANNEL}"]
        response = service.chat()
        assert (response.status_code, error_of(response)["code"]) == (503, "engine_unavailable")
        assert int(response.headers["retry-after"]) >= 1
        until(lambda: [event for event in service.inferences() if event.status == "unavailable"])


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False


def service_engines(service: Service) -> list[Engine]:
    with service.store.read() as tx:
        return fleet_rows.all_engines(tx)


def put_engine(service: Service, address: str, incarnation: str, state: str) -> None:
    with service.store.write() as tx:
        fleet_rows.put_engine(tx, Engine("one", POOL, "vllm", address, "base", incarnation, state))


# store and log away


def lock(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("begin exclusive")
    return connection


def test_a_log_that_is_away_spools_inferences_and_refuses_feedback(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        id_ = service.chat().json()["id"]
        service.inference(id_)
        held = lock(service.home.events)
        refused = service.feedback(id_, thumb="down")
        assert refused.status_code == 503 and refused.headers["retry-after"]
        error_of(refused)
        ids = [service.chat(f"while away {number}").json()["id"] for number in range(20)]
        until(lambda: sum(file.stat().st_size for file in service.home.spool.glob("*.jsonl")) > 1000, 15)
        held.execute("rollback")
        held.close()
        until(lambda: set(ids) <= {event.id for event in service.inferences()}, 15)
        assert len(service.inferences()) == 21
        assert until(lambda: service.feedback(id_, thumb="down").status_code == 202)


def test_a_killed_workers_spool_is_adopted(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        held = lock(service.home.events)
        id_ = service.chat().json()["id"]
        until(lambda: sum(file.stat().st_size for file in service.home.spool.glob("*.jsonl")) > 100, 15)
        service.processes[0].kill()
        service.processes.pop().wait()
        held.execute("rollback")
        held.close()
    with gateway_alone(tmp_path) as home:
        until(lambda: id_ in [event.id for event in logged_inferences(home)], 30)


def test_a_locked_store_stops_no_chat_and_the_emergency_stop_works(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as service:
        release = service.release(TAUGHT)
        rollout = service.roll_out(release, WHOLE)
        until(lambda: all(service.chat(user=str(n)).headers["x-thumbwheel-variant"] == "candidate" for n in range(6)))
        held = lock(service.home.store)
        try:
            assert service.chat(user="1").status_code == 200
            began = time.monotonic()
            stopped = service.manage("POST", f"/rollouts/{rollout.id}/abort")
            assert stopped.status_code == 200 and stopped.json()["emergency"] is True
            time.sleep(max(0.0, began + 1.0 - time.monotonic()))
            variants = {service.chat(user=str(n)).headers["x-thumbwheel-variant"] for n in range(24)}
            assert variants == {"stable"}, "a second after the order, on every worker"
            assert service.manage("POST", f"/channels/{CHANNEL}/rollback").json()["emergency"] is True
            change = service.manage("PUT", f"/channels/{CHANNEL}", {"train": False})
            assert change.status_code == 503
            error_of(change)
        finally:
            held.execute("rollback")
            held.close()
        asked = read_emergency(service.home)[CHANNEL]
        assert (asked["action"], asked["rollout"]) == ("rollback", rollout.id), "the most that was asked for stays"
        clear_emergency(service.home, CHANNEL, asked)
        until(lambda: service.chat(user="1").headers["x-thumbwheel-variant"] == "candidate")


# administration


def test_two_workers_see_an_abort_at_once(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as service:
        rollout = service.roll_out(service.release(TAUGHT), WHOLE)
        until(lambda: all(service.chat(user=str(n)).headers["x-thumbwheel-variant"] == "candidate" for n in range(12)))
        began = time.monotonic()
        answer = service.manage("POST", f"/rollouts/{rollout.id}/abort")
        took = time.monotonic() - began
        assert answer.status_code == 200 and answer.json()["rollout"]["state"] == "aborted"
        variants = {service.chat(user=str(n)).headers["x-thumbwheel-variant"] for n in range(24)}
        assert variants == {"stable"} and took < 1.0


def test_channels(service: Service) -> None:
    made = service.manage("PUT", "/channels/other", {"train_after": 30})
    assert made.status_code == 201 and made.json()["policies"]["train_after"] == 30
    assert service.chat(model="other").status_code == 200, "a new channel answers at once"
    kept = service.manage("PUT", "/channels/other", {"log": "metadata"})
    assert kept.status_code == 200 and kept.json()["policies"]["train_after"] == 30
    for body, param in (({"colour": 1}, "colour"), ({"log": "loud"}, "log"), ({"clean": {"x": 1}}, "clean.x")):
        refused = service.manage("PUT", "/channels/other", body)
        assert (refused.status_code, error_of(refused)["param"]) == (400, param)
    assert service.manage("PUT", "/channels/Bad Name", {}).status_code == 400
    assert service.manage("GET", "/channels/nothing").status_code == 404
    view = service.manage("GET", f"/channels/{CHANNEL}").json()
    assert view["table"] == [{"release": view["stable"], "role": "stable", "weight": 100.0}]
    wrong = httpx.get(f"{service.admin}/admin/v1/channels/{CHANNEL}", headers=service.headers("app"))
    assert wrong.status_code == 401


def test_runs(service: Service) -> None:
    service.manage("PUT", "/channels/runs", {})
    started = service.manage("POST", "/channels/runs/runs", {})
    assert started.status_code == 202 and started.json()["state"] == "queued"
    run = started.json()["id"]
    busy = service.manage("POST", "/channels/runs/runs")
    assert (busy.status_code, error_of(busy)["param"]) == (409, run)
    shown = service.manage("GET", f"/runs/{run}").json()
    assert set(shown) >= {"id", "channel", "state", "dataset", "release", "report", "reasons", "progress"}
    assert service.manage("POST", f"/runs/{run}/approve").status_code == 409
    assert service.manage("GET", "/runs/run-none").status_code == 404
    assert service.manage("GET", "/channels/runs").json()["runs"] == [run]


def test_rollouts_by_hand(service: Service) -> None:
    release = service.release(TAUGHT)
    refused = service.manage("POST", f"/channels/{CHANNEL}/rollouts", {"release": release.id})
    assert refused.status_code in (409, 400), "a file check stays: this artifact has no weights"
    error_of(refused)
    missing = service.manage("POST", f"/channels/{CHANNEL}/rollouts", {"release": service.bare_release("1" * 64).id})
    assert (missing.status_code, error_of(missing)["code"]) == (409, "artifact_damaged")
    rollout = service.roll_out(release)
    for action, code, state in (
        ("resume", 409, None),
        ("pause", 200, "paused"),
        ("pause", 409, None),
        ("resume", 200, "running"),
        ("promote", 200, "promoted"),
        ("abort", 409, None),
    ):
        answer = service.manage("POST", f"/rollouts/{rollout.id}/{action}")
        assert answer.status_code == code, (action, answer.text)
        if state is not None:
            assert answer.json()["rollout"]["state"] == state
    assert service.manage("GET", f"/releases/{release.id}").json()["state"] == "stable"
    back = service.manage("POST", f"/channels/{CHANNEL}/rollback")
    assert back.status_code == 200 and back.json()["rollout"]["state"] == "rolled_back"
    assert back.json()["stable"] != release.id
    assert service.manage("POST", f"/channels/{CHANNEL}/rollback").status_code == 409
    assert service.manage("POST", f"/rollouts/{rollout.id}/explode").status_code == 404


def test_metrics_and_pages(service: Service) -> None:
    service.chat()
    text = httpx.get(f"{service.admin}/metrics").text
    for name in (
        'thumbwheel_requests_total{channel="support"',
        "thumbwheel_end_to_end_seconds_bucket",
        "thumbwheel_log_queue_depth",
        "thumbwheel_log_spool_bytes",
        "thumbwheel_ledger",
        "thumbwheel_runs",
        "thumbwheel_weight_percent",
        "thumbwheel_store_up 1.0",
    ):
        assert name in text, name
    assert "vllm:" in httpx.get(f"{service.admin}/engines/one/metrics").text
    assert httpx.get(f"{service.admin}/engines/two/metrics").status_code == 404
    schema = httpx.get(f"{service.api}/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/completions", "/v1/feedback", "/v1/models"} <= set(schema["paths"])
    assert "/admin/v1/channels/{name}" in httpx.get(f"{service.admin}/openapi.json").json()["paths"]
    for listener in (service.api, service.admin):
        assert httpx.get(f"{listener}/docs").status_code == 200


def test_one_scrape_shows_both_workers(tmp_path: Path) -> None:
    with serving(tmp_path, workers=2) as service:
        asked = 40
        for number in range(asked):
            assert httpx.post(  # each on a connection of its own, so that both workers get some
                f"{service.api}/v1/chat/completions",
                json={"model": CHANNEL, "messages": [{"role": "user", "content": str(number)}]},
                headers=service.headers(),
            ).is_success

        def scrape() -> tuple[set[str], dict[str, float]]:
            """The workers, and the requests of those that had any."""
            text = httpx.get(f"{service.admin}/metrics").text
            samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
            workers = {s.labels["worker"] for s in samples if s.name == "thumbwheel_in_flight"}
            return workers, {s.labels["worker"]: s.value for s in samples if s.name == "thumbwheel_requests_total"}

        for _ in range(10):  # whichever worker answers
            workers, requests = scrape()
            assert len(workers) == 2 and sum(requests.values()) == asked
        service.processes[0].kill()
        service.processes.pop(0).wait()
        workers, requests = scrape()
        assert len(workers) == 1 and set(requests) <= workers, "the killed worker's are gone"
        assert len(list(service.home.workers.iterdir())) == 1


def test_sigterm_finishes_streams_and_writes_the_log(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        service.faults(token_ms=30)
        texts: list[str] = []
        thread = threading.Thread(target=lambda: texts.append(service.chat(stream=True).text))
        thread.start()
        time.sleep(0.5)
        service.processes[0].terminate()
        thread.join(20)
        assert texts and texts[0].endswith("data: [DONE]\n\n")
        assert service.processes[0].wait(10) == 0
        assert [event.status for event in service.inferences()] == ["ok"]


def test_units_are_spread_by_the_table(service: Service) -> None:
    service.roll_out(service.release(TAUGHT), HALF)
    channel = service.channel()
    share = sum(assign(channel, str(n)).role == "candidate" for n in range(4000)) / 4000
    assert 0.46 < share < 0.54
    assert point(channel.salt, "a") != point("another", "a")


def test_an_engine_that_takes_too_long_is_the_releases_failure(tmp_path: Path) -> None:
    with serving(tmp_path, engine_timeout_s=1) as service:
        service.faults(delay_ms=30_000)
        began = time.monotonic()
        response = service.chat()
        assert (response.status_code, error_of(response)["code"]) == (503, "engine_failed")
        assert 1 <= time.monotonic() - began < 15, "asked once, and not again"
        (logged,) = until(service.inferences)
        assert logged.status == "release_error"
