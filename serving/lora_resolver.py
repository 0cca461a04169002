"""A vLLM plug-in that finds a release's adapter among the stored artifacts, checks it, and hands it over.

An engine is asked for `adapter-<sha of the adapter's artifact>`. The first request for a name comes here: the artifact
is copied, hashed on the way, into a directory that the engine owns, checked against the base, and vLLM reads the copy.
A restarted or new engine heals the same way, and nobody calls vLLM's own load and unload routes.

It reads its four settings from the environment once, in `register` (see `ResolverSettings`), and does nothing without
them. It does not know releases or channels: any adapter in the store may be asked for by who can reach the engine.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thumbwheel.adapter import AdapterSummary, BaseModules, base_modules, check_adapter
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.errors import AdapterRefused, ArtifactError
from thumbwheel.ids import adapter_sha

LOG = logging.getLogger("vllm.thumbwheel.lora_resolver")  # below vLLM's logger, so that its handlers write it
ADAPTER_KIND = "adapter"
RESOLVER = "thumbwheel"

ENV_ARTIFACTS = "THUMBWHEEL_ARTIFACTS"
ENV_ENGINE_DIR = "THUMBWHEEL_ENGINE_DIR"
ENV_BASE = "THUMBWHEEL_BASE"
ENV_MAX_LORA_RANK = "THUMBWHEEL_MAX_LORA_RANK"


@dataclass(frozen=True)
class ResolverSettings:
    """Where artifacts lie, where this engine keeps its copies, the base's checkpoint, and the highest rank served."""

    artifacts: Path
    copies: Path
    base: Path
    max_lora_rank: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> ResolverSettings | None:
        """The settings that `serving.engine` gave, or None where it did not start this process."""
        if ENV_ARTIFACTS not in environment:
            return None
        return cls(
            artifacts=Path(environment[ENV_ARTIFACTS]),
            copies=Path(environment[ENV_ENGINE_DIR]) / "adapters",
            base=Path(environment[ENV_BASE]),
            max_lora_rank=int(environment[ENV_MAX_LORA_RANK]),
        )


class AdapterSource:
    """Fetches adapters for one engine: each is copied, hashed and checked once, however many ask at the same time."""

    def __init__(self, store: ArtifactStore, copies: Path, base: BaseModules, max_lora_rank: int) -> None:
        self.store = store
        self.copies = copies
        self.base = base
        self.max_lora_rank = max_lora_rank
        self.loads = 0  # fetches that did the work, for the log line that tests and operators count
        self._fetches: dict[str, asyncio.Task[Path | None]] = {}

    async def fetch(self, name: str) -> Path | None:
        """The directory of this engine's own checked copy, or None, with the reason in the log.

        Hashing runs in a thread, so the server's loop goes on. A failure is not kept: the artifact may arrive later.
        Only a fault of our own is raised, for all who wait, and it is not kept either.
        """
        sha = adapter_sha(name)
        if sha is None:
            LOG.warning("refused a name that is no adapter's: %.80r", name)
            return None
        task = self._fetches.get(sha)
        if task is None:
            task = self._fetches[sha] = asyncio.create_task(asyncio.to_thread(self._fetch, sha))
            task.add_done_callback(lambda done: self._keep_no_failure(sha, done))
        # Shielded: one client that leaves must not end what others wait for.
        return await asyncio.shield(task)

    def _keep_no_failure(self, sha: str, done: asyncio.Task[Path | None]) -> None:
        if done.cancelled() or done.exception() is not None or done.result() is None:
            del self._fetches[sha]

    def _fetch(self, sha: str) -> Path | None:
        started = time.monotonic()
        try:
            path, summary = self._copy_and_check(sha)
        except AdapterRefused as refused:
            LOG.warning("adapter %s refused (%s): %s", sha[:12], refused.reason, refused)
        except (ArtifactError, OSError) as error:
            LOG.warning("adapter %s not fetched (%s): %s", sha[:12], type(error).__name__, error)
        else:
            self.loads += 1
            LOG.info(
                "adapter %s fetched: load %d of this engine, rank %d, %d modules, %.0f ms",
                sha[:12],
                self.loads,
                summary.rank,
                len(summary.modules),
                1e3 * (time.monotonic() - started),
            )
            return path
        return None

    def _copy_and_check(self, sha: str) -> tuple[Path, AdapterSummary]:
        kind = self.store.manifest(sha).kind
        if kind != ADAPTER_KIND:
            raise ArtifactError(f"it is of kind {kind!r}, not {ADAPTER_KIND!r}")
        path = self.store.copy_verified(sha, self.copies / sha)
        return path, check_adapter(path, self.base, self.max_lora_rank)


def register() -> None:
    """vLLM's general plug-in: hands vLLM a resolver made from the environment. Raises where a setting is wrong."""
    settings = ResolverSettings.read(os.environ)
    if settings is None or multiprocessing.parent_process() is not None:  # names are resolved in the first process
        return
    from vllm.lora.request import LoRARequest
    from vllm.lora.resolver import LoRAResolver, LoRAResolverRegistry

    source = AdapterSource(
        ArtifactStore(settings.artifacts), settings.copies, base_modules(settings.base), settings.max_lora_rank
    )

    class ArtifactResolver(LoRAResolver):  # type: ignore[misc]  # vLLM is not followed by the type checker
        async def resolve_lora(self, base_model_name: str, lora_name: str) -> LoRARequest | None:
            path = await source.fetch(lora_name)
            # vLLM gives the id itself; 1 is what its constructor asks for.
            return path and LoRARequest(lora_name=lora_name, lora_int_id=1, lora_path=str(path))

    LoRAResolverRegistry.register_resolver(RESOLVER, ArtifactResolver())
