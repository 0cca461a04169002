"""A service that plays the interface by a script, for the demo's own tests: no model, no training, answers at once.

    python tests/unit/demo/fake_service.py up --home DIR
    python tests/unit/demo/fake_service.py release import DIR --channel NAME --home HOME --json

It promises what the interface promises, as far as the demo uses it. A release knows a set of categories and answers
three of four complaints of those rightly; one of random weights answers gibberish. A model named in FAULTS answers with
that fault.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import signal
import socket
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from safetensors.numpy import load_file, save_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from demo import helpdesk
from demo.measure import load_general

FAULTS = ("broken-stream", "error-stream", "away", "garbled")
WIDTH, RANK, BASE = 16, 2, "fake-base"
POLLS_A_RUN = 2
POLLS_A_STAGE = 3
REQUESTS_A_STAGE = 12
ANSWER_S = 0.01
GIBBERISH = "qx " * 40
DESK = helpdesk.load()
CATEGORY = {
    case.complaint: case.category
    for case in (*DESK.corrections, *DESK.heldout, *DESK.paraphrases, *DESK.corrections2, *DESK.heldout2)
} | {question.text: question.category for question in DESK.traffic}
GENERAL = {prompt.prompt: prompt.accept[0] for prompt in load_general()}


@dataclass
class Release:
    id: str
    adapter: str | None = None
    knows: frozenset[str] = frozenset()
    random: bool = False


@dataclass
class Channel:
    name: str
    policies: dict[str, Any]
    stable: str
    rollout: dict[str, Any] | None = None
    stage_requests: int = 0
    stage_polls: int = 0
    gibberish: int = 0
    feedback: dict[str, dict[str, Any]] = field(default_factory=dict)
    inferences: dict[str, str] = field(default_factory=dict)  # inference -> complaint
    run_ids: list[str] = field(default_factory=list)


class Fake:
    """All state of the fake, and its routes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.channels: dict[str, Channel] = {}
        self.releases: dict[str, Release] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.numbers = itertools.count(1)

    def routes(self) -> list[Route]:
        admin = "/admin/v1"
        return [
            Route("/readyz", self.ready),
            Route("/healthz", self.ready),
            Route("/v1/chat/completions", self.chat, methods=["POST"]),
            Route("/v1/feedback", self.take_feedback, methods=["POST"]),
            Route(admin + "/channels/{name}", self.put_channel, methods=["PUT"]),
            Route(admin + "/channels/{name}", self.show_channel),
            Route(admin + "/channels/{name}/ledger", self.ledger),
            Route(admin + "/channels/{name}/runs", self.start_run, methods=["POST"]),
            Route(admin + "/channels/{name}/rollouts", self.start_rollout, methods=["POST"]),
            Route(admin + "/runs/{id}", self.show_run),
            Route(admin + "/rollouts/{id}/abort", self.abort, methods=["POST"]),
            Route(admin + "/releases/{id}", self.show_release),
        ]

    async def ready(self, _: Request) -> Response:
        return JSONResponse({})

    # asking

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        await asyncio.sleep(ANSWER_S)
        if body["model"] == "away":
            return error(503, "Try again.")
        text, headers, inference = "nothing", {}, f"chatcmpl-{next(self.numbers)}"
        if body["model"] not in FAULTS:
            channel = self.channels[body["model"]]
            variant, release = self._assign(channel, body["user"])
            complaint = body["messages"][-1]["content"]
            text = self._answer(release, complaint)
            if variant == "candidate":
                channel.stage_requests += 1
                channel.gibberish += text == GIBBERISH
            channel.inferences[inference] = complaint
            headers = {
                "x-thumbwheel-release": release.id,
                "x-thumbwheel-variant": variant,
                "x-thumbwheel-feedback-token": f"token-{inference}",
            }
        if body["model"] == "garbled":
            return JSONResponse({"id": inference})
        if body["stream"]:
            return StreamingResponse(stream(inference, text, body["model"]), headers=headers)
        message = {"role": "assistant", "content": text}
        return JSONResponse({"id": inference, "choices": [{"message": message}]}, headers=headers)

    def _assign(self, channel: Channel, user: str) -> tuple[str, Release]:
        rollout = channel.rollout
        if rollout and rollout["state"] == "running" and zlib.crc32(user.encode()) % 100 < rollout["weight"]:
            return "candidate", self._release(rollout["release"])
        return "stable", self._release(channel.stable)

    def _answer(self, release: Release, text: str) -> str:
        if release.random:
            return GIBBERISH
        luck = zlib.crc32(text.encode())
        if text in GENERAL:
            return f"I believe it is {GENERAL[text]}." if luck % 3 else "I don't know."
        category = CATEGORY.get(text)
        if not release.knows or category is None:
            return "I'm sorry to hear that. Could you tell me more?"
        if category in release.knows and luck % 4:
            return helpdesk.answer_for(category)
        return helpdesk.answer_for(sorted(release.knows - {category})[luck % 3])

    # feedback

    async def take_feedback(self, request: Request) -> Response:
        body = await request.json()
        token = request.headers.get("x-thumbwheel-feedback-token")
        if token is not None and token != f"token-{body['inference_id']}":
            return error(401, "This is no feedback token.")
        owner = next((c for c in self.channels.values() if body["inference_id"] in c.inferences), None)
        if owner is None:
            return error(404, "No inference has this id.")
        if body.get("correction") == "":
            return error(400, "`correction` is empty.")
        identity = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:20]
        owner.feedback[identity] = body
        return JSONResponse({"id": identity, "state": "waiting"}, 202)

    async def ledger(self, request: Request) -> Response:
        channel = self.channels[request.path_params["name"]]
        corrections = [body for body in channel.feedback.values() if body.get("correction")]
        junk = sum(self._category(body["correction"]) is None for body in corrections)
        rest = len(channel.feedback) - len(corrections)
        return JSONResponse(
            {
                "acknowledged": len(channel.feedback),
                "used": len(corrections) - junk,
                "refused": {"not_well_formed": junk},
                "waiting": {"no_correction": rest},
            }
        )

    @staticmethod
    def _category(correction: str) -> str | None:
        return helpdesk.category_of(correction)

    # channels, runs, rollouts

    async def put_channel(self, request: Request) -> Response:
        name = request.path_params["name"]
        policies = await request.json()
        if name in self.channels:
            self.channels[name].policies.update(policies)
            return JSONResponse(self._show(self.channels[name]))
        base = self._new_release(None, frozenset())
        self.channels[name] = Channel(name, policies, base.id)
        return JSONResponse(self._show(self.channels[name]), 201)

    async def show_channel(self, request: Request) -> Response:
        channel = self.channels[request.path_params["name"]]
        shown = json.loads(json.dumps(self._show(channel)))
        self._move(channel)
        return JSONResponse(shown)

    def _show(self, channel: Channel) -> dict[str, Any]:
        return {
            "name": channel.name,
            "policies": channel.policies,
            "stable": channel.stable,
            "table": [],
            "rollout": channel.rollout,
            "runs": channel.run_ids,
        }

    def _move(self, channel: Channel) -> None:
        """The controller: gibberish is rolled back, enough requests widen, the last stage promotes."""
        rollout = channel.rollout
        if rollout is None or rollout["state"] != "running":
            return
        channel.stage_polls += 1
        stages = channel.policies["stages"]
        if channel.gibberish > 2:
            reasons = [f"degenerate: {channel.gibberish} of {channel.stage_requests} answers"]
            rollout.update(state="rolled_back", weight=0, analysis={"result": "failed", "reasons": reasons})
        elif rollout["weight"] == 0:
            rollout.update(weight=stages[0]["weight"])
        elif channel.stage_requests >= REQUESTS_A_STAGE and channel.stage_polls > POLLS_A_STAGE:
            channel.stage_requests = channel.stage_polls = 0
            if rollout["stage"] + 1 == len(stages):
                rollout.update(state="promoted", analysis={"result": "successful", "reasons": []})
                channel.stable = rollout["release"]
            else:
                rollout["stage"] += 1
                rollout["weight"] = stages[rollout["stage"]]["weight"]

    async def start_run(self, request: Request) -> Response:
        channel = self.channels[request.path_params["name"]]
        body = await request.json()
        run = {
            "id": f"run-{next(self.numbers)}",
            "channel": channel.name,
            "state": "queued",
            "dataset": None,
            "release": body.get("release"),
            "report": None,
            "reasons": [],
            "progress": {},
            "polls": 0,
        }
        self.runs[run["id"]] = run
        channel.run_ids.append(run["id"])
        return JSONResponse({"id": run["id"], "state": "queued"}, 202)

    async def show_run(self, request: Request) -> Response:
        run = self.runs[request.path_params["id"]]
        run["polls"] += 1
        if run["state"] == "queued":
            run.update(state="training", progress={"step": "train", "done": 1, "of": 2, "eta_s": 1})
        elif run["state"] == "training" and run["polls"] > POLLS_A_RUN:
            self._end_run(run)
        return JSONResponse(run)

    def _end_run(self, run: dict[str, Any]) -> None:
        channel = self.channels[run["channel"]]
        if run["release"] is not None:
            state, reasons = self._judge(self._release(run["release"]), channel)
            run.update(state=state, reasons=reasons)
            return
        pairs = [
            (CATEGORY[channel.inferences[body["inference_id"]]], self._category(body["correction"]))
            for body in channel.feedback.values()
            if channel.inferences[body["inference_id"]] in CATEGORY and body.get("correction")
        ]
        right = sum(wanted == taught for wanted, taught in pairs)
        if 2 * right < len(pairs):
            run.update(state="rejected", reasons=["contrast: in 52% of pairs"])
            return
        knows = frozenset(taught for _, taught in pairs if taught)
        release = self._new_release(self._publish(train(len(knows)), {"source": "trained"}), knows)
        evidence = {
            "gain": {"mean": 1.5, "lower": 1.2, "upper": 1.8, "n": 28},
            "contrast": {"mean": 1.0, "lower": 0.88, "upper": 1.0, "n": 28},
            "general": {"kl": 0.03, "kl_tokens": 900, "kl_is": "scripted"},
        }
        report = self._publish_files({"report.json": json.dumps(evidence).encode()})
        run.update(state="candidate", release=release.id, report=report)
        self._roll_out(channel, release.id)

    def _judge(self, release: Release, channel: Channel) -> tuple[str, list[str]]:
        assert release.adapter is not None
        folder = self.home / "artifacts" / release.adapter
        if artifact_sum({p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}) != folder.name:
            return "failed", [f"artifact {release.adapter[:12]}: adapter_model.safetensors is not as it was written"]
        return "rejected", ["gain: -4.1 is not above 0.05"]

    async def start_rollout(self, request: Request) -> Response:
        channel = self.channels[request.path_params["name"]]
        self._roll_out(channel, (await request.json())["release"])
        return JSONResponse(self._show(channel))

    def _roll_out(self, channel: Channel, release: str) -> None:
        channel.stage_requests = channel.stage_polls = channel.gibberish = 0
        channel.rollout = {
            "id": f"ro-{next(self.numbers)}",
            "release": release,
            "state": "running",
            "stage": 0,
            "weight": 0,
            "analysis": {"result": "inconclusive", "reasons": []},
        }

    async def abort(self, request: Request) -> Response:
        for channel in self.channels.values():
            if channel.rollout and channel.rollout["id"] == request.path_params["id"]:
                channel.rollout.update(state="aborted", weight=0)
                return JSONResponse(self._show(channel))
        return error(404, "There is no such rollout.")

    async def show_release(self, request: Request) -> Response:
        release = self._release(request.path_params["id"])
        return JSONResponse({"id": release.id, "adapter": release.adapter, "state": "draft"})

    # releases

    def _new_release(self, adapter: str | None, knows: frozenset[str]) -> Release:
        release = Release(f"rel-{next(self.numbers)}", adapter, knows)
        self.releases[release.id] = release
        return release

    def _release(self, id_: str) -> Release:
        """A release of ours, or a draft that the import left in the data directory: of random weights, we suppose."""
        if id_ not in self.releases:
            draft = json.loads((self.home / "drafts" / id_).read_text())
            self.releases[id_] = Release(id_, draft["adapter"], random=True)
        return self.releases[id_]

    def _publish(self, weights: dict[str, np.ndarray[Any, Any]], config: dict[str, Any]) -> str:
        scratch = self.home / "scratch.safetensors"
        save_file(weights, scratch)
        config = {"base_model_name_or_path": BASE, "r": RANK, **config}
        files = {"adapter_model.safetensors": scratch.read_bytes(), "adapter_config.json": json.dumps(config).encode()}
        return self._publish_files(files)

    def _publish_files(self, files: dict[str, bytes]) -> str:
        return publish(self.home, files)


def train(seed: int) -> dict[str, np.ndarray[Any, Any]]:
    generator = np.random.default_rng(seed)
    return {
        "base_model.model.layers.0.q_proj.lora_A.weight": generator.normal(size=(RANK, WIDTH)).astype(np.float32),
        "base_model.model.layers.0.q_proj.lora_B.weight": generator.normal(size=(WIDTH, RANK)).astype(np.float32),
    }


def artifact_sum(files: dict[str, bytes]) -> str:
    return hashlib.sha256(b"".join(name.encode() + files[name] for name in sorted(files))).hexdigest()


def publish(home: Path, files: dict[str, bytes]) -> str:
    sha = artifact_sum(files)
    folder = home / "artifacts" / sha
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {**files, "manifest.json": b"{}"}.items():
        (folder / name).write_bytes(content)
    return sha


def error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": {"message": message, "type": "x", "param": None, "code": None}}, status)


async def stream(inference: str, text: str, model: str) -> Any:
    for word in text.split(" "):
        chunk = {
            "id": inference,
            "choices": [{"delta": {"content": word if word == text.split(" ")[0] else " " + word}}],
        }
        yield f"data: {json.dumps(chunk)}\n\n"
    if model == "error-stream":
        yield 'data: {"error": {"message": "The engine went away."}}\n\n'
    elif model != "broken-stream":
        yield "data: [DONE]\n\n"


def import_adapter(home: Path, directory: Path) -> tuple[int, str]:
    config = json.loads((directory / "adapter_config.json").read_text())
    if config["base_model_name_or_path"] not in ("", BASE):
        return 1, f"the adapter is refused (wrong_base): it was trained on {config['base_model_name_or_path']!r}"
    for name, array in load_file(directory / "adapter_model.safetensors").items():
        if ".lora_A." in name and array.shape != (RANK, WIDTH):
            return 1, f"the adapter is refused (wrong_shape): {name} is {array.shape}"
        if not np.isfinite(array).all():
            return 1, f"the adapter is refused (not_finite): {name} holds NaN"
    files = {file.name: file.read_bytes() for file in directory.iterdir()}
    sha = publish(home, {**files, "imported.json": b"{}"})
    draft = f"rel-draft-{sha[:8]}"
    (home / "drafts").mkdir(exist_ok=True)
    (home / "drafts" / draft).write_text(json.dumps({"adapter": sha}))
    return 0, draft


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def serve(home: Path) -> None:
    (home / "keys").mkdir(parents=True, exist_ok=True)
    for name in ("app.key", "admin.key"):
        (home / "keys" / name).write_text(f"{name}\n")
    fake, port = Fake(home), free_port()
    config = uvicorn.Config(Starlette(routes=fake.routes()), port=port, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    url = f"http://127.0.0.1:{port}"
    (home / "endpoints.new").write_text(json.dumps({"api": url, "admin": url}))
    (home / "endpoints.new").replace(home / "endpoints.json")
    await serving
    (home / "endpoints.json").unlink()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--channel")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.words[0] == "up":
        # uvicorn drains on SIGTERM and then raises the signal again for whoever was there before it.
        signal.signal(signal.SIGTERM, lambda *_: None)
        asyncio.run(serve(arguments.home))
        return 0
    code, said = import_adapter(arguments.home, Path(arguments.words[2]))
    print(json.dumps({"id": said}) if code == 0 else f"thumbwheel: {said}", file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
