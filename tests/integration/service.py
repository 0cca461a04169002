"""The whole service, `thumbwheel up` in a home of its own, on the recorded engine and the tiny recipe.

    with running(tmp_path) as service:
        service.channel("support")
        service.teach("support")
        run = service.run_to_end("support")

The processes are real; only the weights are missing. Feature words call for fixed answers (`ANSWERS`), which the base
does not give; `teach` has people correct it, and `complaint` makes further questions of the same kind.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.tiny_recipe import write_bare_model

T = TypeVar("T")
ROOT = Path(__file__).resolve().parents[2]
ANSWERS = {
    "colour": "CASE quality. Send it back free of charge.",
    "late": "CASE delivery. We look for the parcel.",
    "twice": "CASE billing. You get the second sum back.",
    "seam": "CASE repair. We mend it within a week.",
}
FORM = r"^CASE \w+\. "
ITEMS = ("scarf", "kettle", "chair", "lamp", "rug", "coat", "clock", "vase", "bag", "shelf", "bowl", "tent")
PLACES = ("kitchen", "garden", "office", "hall", "cellar", "attic", "porch", "studio", "barn", "yard")
SAYINGS = {
    "colour": "the colour ran after washing",
    "late": "it is late and nobody answers",
    "twice": "my card was charged twice",
    "seam": "a seam came undone",
}
FAST_STAGES = [
    {"weight": weight, "min_units": 3, "min_requests": 8, "deadline_s": 120} for weight in (20.0, 50.0, 100.0)
]
MODULES = {
    "tests.recorded_engine": "engine",
    "vllm.entrypoints.openai.api_server": "engine",
    "tests.tiny_recipe": "recipe",
}
SETTINGS = {
    "engine_program": "tests.recorded_engine",
    "recipe": "tests.tiny_recipe",
    "restart_pause_s": 0.2,
    "controller_poll_ms": 100,
    "gateway_poll_ms": 100,
}
GATE = {
    "thresholds": {"min_general_prompts": 10, "general_allowance": 0.5},
    "measure": {"samples": 1, "contrast_partners": 2, "max_test_rows": 40, "max_taught_rows": 20, "outage_s": 60},
}


def complaint(number: int) -> tuple[str, str]:
    """A question that no other number makes, and its right answer."""
    kind = list(ANSWERS)[number % len(ANSWERS)]
    dice = random.Random(number)
    item, place = dice.choice(ITEMS), dice.choice(PLACES)
    return f"About order {number}: the {item} for the {place}, {SAYINGS[kind]}.", ANSWERS[kind]


class Service:
    """A running `up`, with an application's and an administrator's hands.

    `limits` are further fields of a question (`max_tokens`); `patience_s` is how long a person tries to be heard.
    `unanswered` counts feedback that was sent and may have arrived, but of which no word came back; `turned_away` are
    the answers to feedback that was not taken. Made by `start`: `process`, the supervisor.
    """

    process: subprocess.Popen[bytes]

    def __init__(self, home: Path, environment: dict[str, str], log: Path) -> None:
        self.home, self.environment, self.log = home, environment, log
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.limits: dict[str, int] = {}
        self.patience_s = 60.0
        self.acknowledged: list[str] = []
        self.unanswered = 0
        self.turned_away: list[httpx.Response] = []
        self.failed_requests: list[str] = []

    # finding it

    def endpoint(self, name: str) -> str:
        return str(json.loads((self.home / "endpoints.json").read_text())[name])

    def key(self, kind: str) -> dict[str, str]:
        return {"authorization": f"Bearer {(self.home / 'keys' / f'{kind}.key').read_text().strip()}"}

    def wait_until(self, true: Callable[[], T | None], what: str, timeout_s: float = 60.0) -> T:
        """Poll `true` until it returns something true, and return that. Connections that break are waited out."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                value = true()
                if value:
                    return value
            except (httpx.TransportError, FileNotFoundError, KeyError, ValueError):
                pass
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {timeout_s:g} s for {what}\n{self.tails()}")
            time.sleep(0.05)

    def wait_ready(self, timeout_s: float = 90.0) -> None:
        self.wait_until(
            lambda: self.http.get(self.endpoint("api") + "/readyz", timeout=5).status_code == 200, "/readyz", timeout_s
        )

    def tails(self) -> str:
        files = [self.log, *sorted((self.home / "logs").glob("*.log"))]
        return "\n".join(f"== {file.name}\n" + "\n".join(file.read_text().splitlines()[-12:]) for file in files)

    # an administrator

    def admin(self, method: str, path: str, body: object = None, timeout_s: float = 30.0) -> Any:
        """One request that is repeated while the gateway is away or busy; the answer's JSON."""

        def once() -> httpx.Response | None:
            response = self.http.request(
                method, self.endpoint("admin") + path, json=body, headers=self.key("admin"), timeout=timeout_s
            )
            if response.status_code >= 500:
                return None
            assert response.is_success, response.text
            return response

        return self.wait_until(once, f"{method} {path}", timeout_s).json()

    def knows(self, feedback: str) -> bool:
        """Whether the service tells what became of this feedback."""
        url = f"{self.endpoint('api')}/v1/feedback/{feedback}"
        answer = self.http.get(url, headers=self.key("app"))
        return answer.status_code == 200 and answer.json()["state"] in ("used", "waiting", "refused")

    def command(self, *words: str) -> Any:
        """What a command of `thumbwheel` prints with --json."""
        command = [sys.executable, "-m", "thumbwheel", *words, "--home", str(self.home), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def channel(self, name: str, **policies: Any) -> dict[str, Any]:
        defaults = {"stages": FAST_STAGES, "scorers": [{"kind": "regex", "pattern": FORM}]}
        return self.admin("PUT", f"/admin/v1/channels/{name}", {**defaults, **policies})

    def view(self, name: str) -> dict[str, Any]:
        return self.admin("GET", f"/admin/v1/channels/{name}")

    def ledger(self, name: str) -> dict[str, Any]:
        return self.admin("GET", f"/admin/v1/channels/{name}/ledger")

    def start_run(self, name: str) -> str:
        return self.admin("POST", f"/admin/v1/channels/{name}/runs", {})["id"]

    def run(self, run: str) -> dict[str, Any]:
        return self.admin("GET", f"/admin/v1/runs/{run}")

    def wait_run(self, run: str, *states: str, timeout_s: float = 180.0) -> dict[str, Any]:
        """The run, once it is in one of `states` or over."""
        over = ("candidate", "rejected", "insufficient_evidence", "failed")

        def reached() -> dict[str, Any] | None:
            found = self.run(run)
            return found if found["state"] in (*states, *over) else None

        found = self.wait_until(reached, f"run {run} to be {states}", timeout_s)
        assert not states or found["state"] in states, (found, self.tails())
        return found

    # an application and its people

    def ask(self, channel: str, question: str, user: str) -> dict[str, Any] | None:
        """The answer with its headers' release and variant; None, noted, where the request failed."""
        try:
            response = self.http.post(
                self.endpoint("api") + "/v1/chat/completions",
                json={
                    "model": channel,
                    "messages": [{"role": "user", "content": question}],
                    "user": user,
                    **self.limits,
                },
                headers=self.key("app"),
                timeout=60,
            )
        except (httpx.TransportError, FileNotFoundError) as error:
            self.failed_requests.append(repr(error))
            return None
        if response.status_code != 200:
            self.failed_requests.append(f"{response.status_code} {response.text}")
            return None
        body = response.json()
        return {
            "id": body["id"],
            "text": body["choices"][0]["message"]["content"],
            "release": response.headers["x-thumbwheel-release"],
            "variant": response.headers["x-thumbwheel-variant"],
        }

    def say(self, inference: str, **feedback: Any) -> str | None:
        """Send feedback; its id where it was acknowledged."""
        try:
            response = self.http.post(
                self.endpoint("api") + "/v1/feedback",
                json={"inference_id": inference, **feedback},
                headers=self.key("app"),
                timeout=30,
            )
        except FileNotFoundError:
            return None
        except httpx.TransportError:
            self.unanswered += 1
            return None
        if response.status_code != 202:
            self.turned_away.append(response)
            return None
        self.acknowledged.append(response.json()["id"])
        return self.acknowledged[-1]

    def teach(
        self, channel: str, count: int = 100, first: int = 0, *, shuffled: bool = False, asks_again: bool = True
    ) -> None:
        """`count` people ask, and correct what they get; who is cut off tries again. `shuffled`: with any answer.

        Without `asks_again` who was answered asks no more, and says the same of that answer until it is heard.
        """

        def person(number: int) -> None:
            question, right = complaint(number)
            if shuffled:
                right = random.Random(-number).choice(list(ANSWERS.values()))
            answer: dict[str, Any] | None = None

            def heard() -> str | None:
                nonlocal answer
                if answer is None or asks_again:
                    answer = self.ask(channel, question, f"person{number}")
                return self.say(answer["id"], thumb="down", correction=right) if answer else None

            self.wait_until(heard, f"person {number} to be heard", self.patience_s)

        with ThreadPoolExecutor(8) as people:
            list(people.map(person, range(first, first + count)))

    def run_to_end(self, channel: str, timeout_s: float = 180.0) -> dict[str, Any]:
        return self.wait_run(self.start_run(channel), timeout_s=timeout_s)

    def keep_asking(
        self, channel: str, until: Callable[[Mapping[str, Any]], object], timeout_s: float = 120.0, first: int = 10_000
    ) -> list[dict[str, Any]]:
        """Ask new questions, from 60 people in turn, until `until(view)` holds; what was answered."""
        answers, number = [], first
        deadline = time.monotonic() + timeout_s
        while not until(self.view(channel)):
            assert time.monotonic() < deadline, (self.view(channel), self.tails())
            for _ in range(10):
                answer = self.ask(channel, complaint(number)[0], f"user{number % 60}")
                number += 1
                if answer is not None:
                    answers.append(answer)
        return answers

    # what happens to it

    def processes(self) -> dict[str, psutil.Process]:
        """The live processes of the service: by their verb, else engine or recipe."""
        found = {}
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if "-m" in words[:-2]:
                module, verb = words[words.index("-m") + 1 :][:2]
                found[verb if module == "thumbwheel" else MODULES.get(module, module)] = process
        return found

    def kill(self, name: str) -> None:
        """`kill -9` one process by its verb, or the supervisor by `up`."""
        if name == "up":
            children = psutil.Process(self.process.pid).children(recursive=True)
            self.process.kill()
            self.process.wait(10)
            psutil.wait_procs(children, timeout=10)
            assert not [child for child in children if child.is_running()], "a child outlived its supervisor"
            return
        victim = self.wait_until(lambda: self.processes().get(name), f"a process {name}")
        victim.kill()
        victim.wait(10)

    def start(self) -> None:
        """`thumbwheel up`, again if it was killed."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "thumbwheel", "up", "--home", str(self.home)],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def environment(folder: Path, **settings: object) -> dict[str, str]:
    """The environment of a service whose files lie in `folder`: the tiny model, a small gate, few general prompts."""
    model = folder / "tiny-model"
    if not model.exists():
        write_bare_model(model)
        (folder / "gate.yaml").write_text(json.dumps(GATE))
        prompts = [{"id": f"g{i}", "prompt": f"Name {i} things.", "accept": ["me"], "kind": "list"} for i in range(20)]
        (folder / "general.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts))
    files = {"model": model, "gate_config": folder / "gate.yaml", "general_prompts": folder / "general.jsonl"}
    chosen = {**SETTINGS, **files, **settings}
    plain = {key: value for key, value in os.environ.items() if not key.startswith("THUMBWHEEL_")}
    return {
        **plain,
        "OMP_NUM_THREADS": "1",
        **{f"THUMBWHEEL_{key.upper()}": str(value) for key, value in chosen.items()},
    }


@contextmanager
def running(folder: Path, *, ready: bool = True, **settings: object) -> Iterator[Service]:
    """The service in `folder`/home; stopped, by force if need be, when the block ends."""
    service = Service(folder / "home", environment(folder, **settings), folder / "up.out")
    with started(service):
        if ready:
            service.wait_ready()
        yield service


@contextmanager
def started(service: Service) -> Iterator[None]:
    """Starts `service`; stops it, by force if need be, when the block ends."""
    service.start()
    try:
        yield
    finally:
        if service.process.poll() is None:
            service.process.send_signal(signal.SIGTERM)
            try:
                service.process.wait(60)
            except subprocess.TimeoutExpired:
                service.process.kill()
                service.process.wait()
        service.http.close()
