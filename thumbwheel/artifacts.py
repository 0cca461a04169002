"""The artifact store: stored results by content, never changed once written.

An artifact is a directory `<root>/<sha>/` that holds the files as they were given and a `manifest.json`, written last.
`<sha>` is the sha256 of the manifest's bytes, and the manifest holds the size and the sha256 of each file, so
`sha256sum manifest.json` proves the name and the name proves the rest. A directory appears under its name by one
rename, whole or not at all.

Erasure alone replaces one: `replace` publishes what is left as a new artifact, leaves `<root>/<sha>.tombstone`, which
holds the old sum and the new one, and removes the old directory. Whoever asks for the old sum gets the new artifact.

It knows nothing of what the files mean, or of who may read them. It trusts the root's owner: sums find damage and
mistakes, not an attacker who can write there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from thumbwheel.errors import ArtifactCorrupt, ArtifactError, StoreUnavailable, UnknownArtifact

MANIFEST = "manifest.json"
FORMAT = 1  # raised when the manifest's shape changes; part of the identity
TOMBSTONE = ".tombstone"
STAGING = ".staging-"
STAGING_LIFE_S = 86_400.0  # a publication that is older was killed; the next one sweeps it away
CHUNK = 1 << 20
SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ArtifactFile:
    """One file of an artifact: its POSIX path inside the artifact, its size in bytes, its sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What an artifact is (`kind`), what its maker said of it (`meta`, JSON values), and its files in path order."""

    sha: str
    kind: str
    meta: Mapping[str, object]
    files: tuple[ArtifactFile, ...]


class ArtifactStore:
    """Artifacts in one private directory, which is made (0700) where it is not there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def publish(self, source: Path, kind: str, meta: Mapping[str, object]) -> str:
        """Copy the directory `source`, nested as it is, and return the artifact's sha. Durable when it returns.

        The same files, kind and meta give the same sha and leave what is there. Raises ArtifactError where `source`
        holds a link, a special file, a `manifest.json` of its own or no file, or where `meta` is no JSON;
        ArtifactCorrupt where the same artifact is there already, and damaged; StoreUnavailable where the disk is full,
        or away, and then leaves nothing behind.
        """
        files = _files_under(source)
        try:
            return self._publish(source, files, kind, meta)
        except OSError as error:
            raise StoreUnavailable(f"the artifact store took no {kind}: {error.strerror}") from error

    def _publish(self, source: Path, paths: Sequence[str], kind: str, meta: Mapping[str, object]) -> str:
        self._sweep()
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.root))
        try:
            files = tuple(_copy(source / path, staging / path, path) for path in paths)
            payload = _encode(kind, meta, files)
            sha = hashlib.sha256(payload).hexdigest()
            _write_durably(staging / MANIFEST, payload)
            for directory, _, _ in os.walk(staging, topdown=False):
                _sync_directory(Path(directory))
            if (self.root / sha).exists():
                _verify(self.root / sha, sha)
            else:
                _rename_unless_there(staging, self.root / sha)
                _sync_directory(self.root)
            return sha
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def replace(self, sha: str, source: Path, kind: str, meta: Mapping[str, object], now_ms: int) -> str:
        """Publish `source` in the place of the artifact, which is removed, and return its sha. Raises as `publish`.

        Killed between any two steps it is done by doing it again.
        """
        new = self.publish(source, kind, meta)
        if new == sha:
            return new
        tombstone = json.dumps({"replaced": sha, "by": new, "at_ms": now_ms}, sort_keys=True).encode() + b"\n"
        try:
            mark = self.root / f"{sha}{TOMBSTONE}"
            if not mark.exists():
                scratch = Path(tempfile.mkdtemp(prefix=STAGING, dir=self.root))
                _write_durably(scratch / MANIFEST, tombstone)
                (scratch / MANIFEST).rename(mark)
                scratch.rmdir()
                _sync_directory(self.root)
            self._remove(sha)
        except OSError as error:
            raise StoreUnavailable(f"the artifact store took no tombstone: {error.strerror}") from error
        return new

    def bury(self) -> None:
        """Remove what a killed `replace` has left of artifacts that have a tombstone. Raises StoreUnavailable."""
        try:
            for mark in sorted(self.root.glob(f"*{TOMBSTONE}")):
                self._remove(mark.name.removesuffix(TOMBSTONE))
        except OSError as error:
            raise StoreUnavailable(f"what was erased cannot be removed: {error.strerror}") from error

    def _remove(self, sha: str) -> None:
        """Under another name first: half of an artifact must not stand under a sum."""
        directory, dying = self.root / sha, self.root / f"{STAGING}erased-{sha}"
        if dying.exists():
            shutil.rmtree(dying)
        if directory.exists():
            directory.rename(dying)
            shutil.rmtree(dying)
            _sync_directory(self.root)

    def standing(self, sha: str) -> str:
        """The sum of what stands in the artifact's place; its own where it was not replaced. Raises UnknownArtifact."""
        seen = {_checked(sha)}
        while (mark := self.root / f"{sha}{TOMBSTONE}").is_file():
            sha = _checked(str(json.loads(mark.read_bytes())["by"]))
            if sha in seen:
                raise ArtifactCorrupt(f"the tombstones of artifact {sha[:12]} lead round in a circle")
            seen.add(sha)
        return sha

    def of_kinds(self, *kinds: str) -> list[Manifest]:
        """The manifests of all artifacts of these kinds, by sum, whether anything names them or not.

        What is damaged is left out; whoever asks for it is told.
        """
        found = []
        for directory in sorted(self.root.iterdir()):
            if SHA.fullmatch(directory.name) and (directory / MANIFEST).is_file():
                try:
                    manifest = _read_manifest(directory, directory.name)
                except (ArtifactError, OSError):
                    continue
                found.append(manifest)
        return [manifest for manifest in found if manifest.kind in kinds]

    def path(self, sha: str) -> Path:
        """The artifact's directory, or of what was put in its place, to be read only. Raises UnknownArtifact."""
        directory = self.root / self.standing(sha)
        if not (directory / MANIFEST).is_file():
            raise UnknownArtifact(f"no artifact {sha[:12]} is stored here")
        return directory

    def manifest(self, sha: str) -> Manifest:
        """Read and check the manifest alone. Raises UnknownArtifact, ArtifactCorrupt."""
        return _read_manifest(self.path(sha), self.standing(sha))

    def verify(self, sha: str) -> None:
        """Hash every file. Raises UnknownArtifact, or ArtifactCorrupt naming the first file that is not as written."""
        _verify(self.path(sha), self.standing(sha))

    def copy_verified(self, sha: str, target: Path) -> Path:
        """Make `target` a read-only copy of the artifact, hashed while it is copied, and return it.

        A whole copy that is there already is hashed again and kept; a damaged one is made anew. Raises
        UnknownArtifact, ArtifactCorrupt. It blocks for as long as hashing takes (about a second a GB).
        """
        sha = self.standing(sha)
        source = self.path(sha)
        manifest = _read_manifest(source, sha)
        if _is_whole(target, sha):
            return target
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING, dir=target.parent))
        try:
            for entry in manifest.files:
                if _copy(_regular(source, entry.path), staging / entry.path, entry.path) != entry:
                    raise ArtifactCorrupt(f"artifact {sha[:12]}: {entry.path} is not as it was written")
            _write_durably(staging / MANIFEST, (source / MANIFEST).read_bytes())
            if target.exists() and not _is_whole(target, sha):
                target.rename(staging.with_name(staging.name + "-damaged"))
            _rename_unless_there(staging, target)
            return target
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            shutil.rmtree(staging.with_name(staging.name + "-damaged"), ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what a killed publication left behind."""
        for left in self.root.glob(f"{STAGING}*"):
            try:
                age_s = time.time() - left.stat().st_mtime
            except FileNotFoundError:  # another publication has just finished with it
                continue
            if age_s > STAGING_LIFE_S:
                shutil.rmtree(left, ignore_errors=True)


def _checked(sha: str) -> str:
    if not SHA.fullmatch(sha):
        raise UnknownArtifact("an artifact is named by the 64 hex digits of its sum")
    return sha


def _files_under(source: Path) -> list[str]:
    """The POSIX paths of all files under `source`, sorted; raises ArtifactError for anything but files and folders."""
    if source.is_symlink() or not source.is_dir():
        raise ArtifactError("an artifact is published from a directory, not from a link or a file")
    found: list[str] = []
    for directory, folders, names in os.walk(source):
        for name in folders + names:
            entry = Path(directory, name)
            path = entry.relative_to(source).as_posix()
            if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
                raise ArtifactError(f"{path} is a link or a special file; an artifact holds plain files only")
            if name in names:
                found.append(path)
    if not found:
        raise ArtifactError("there is no file to publish")
    if MANIFEST in found:
        raise ArtifactError(f"{MANIFEST} is the store's own name; call the file something else")
    return sorted(found)


def _encode(kind: str, meta: Mapping[str, object], files: tuple[ArtifactFile, ...]) -> bytes:
    """The manifest's canonical bytes: sorted keys, no spaces, ASCII, a newline at the end."""
    content = {
        "format": FORMAT,
        "kind": kind,
        "meta": dict(meta),
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in files],
    }
    try:
        return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"an artifact's meta holds JSON values only: {error}") from error


def _read_manifest(directory: Path, sha: str) -> Manifest:
    payload = (directory / MANIFEST).read_bytes()
    if hashlib.sha256(payload).hexdigest() != sha:
        raise ArtifactCorrupt(f"artifact {sha[:12]}: {MANIFEST} is not as it was written")
    # The sum proves that the bytes are the ones that were named, not that a store wrote them.
    try:
        content = json.loads(payload)
        if content["format"] != FORMAT:
            raise ArtifactError(f"artifact {sha[:12]} has format {content['format']}; this version reads {FORMAT}")
        files = tuple(ArtifactFile(file["path"], file["size"], file["sha256"]) for file in content["files"])
        kind, meta = content["kind"], content["meta"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(f"artifact {sha[:12]}: {MANIFEST} is no manifest") from error
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or path.as_posix() != file.path or file.path == MANIFEST:
            raise ArtifactCorrupt(f"artifact {sha[:12]}: its manifest names a file outside of it")
    return Manifest(sha, kind, meta, files)


def _regular(directory: Path, path: str) -> Path:
    """`directory/path` if no part of it below `directory` is a link; raises ArtifactCorrupt."""
    entry = directory
    for part in PurePosixPath(path).parts:
        entry = entry / part
        if entry.is_symlink():
            raise ArtifactCorrupt(f"{path} is a link where the manifest has a file")
    if not entry.is_file():
        raise ArtifactCorrupt(f"{path} is missing")
    return entry


def _verify(directory: Path, sha: str) -> None:
    for entry in _read_manifest(directory, sha).files:
        file = _regular(directory, entry.path)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if file.stat().st_size != entry.size or digest != entry.sha256:
            raise ArtifactCorrupt(f"artifact {sha[:12]}: {entry.path} is not as it was written")


def _is_whole(directory: Path, sha: str) -> bool:
    if directory.is_symlink() or not (directory / MANIFEST).is_file():
        return False
    try:
        _verify(directory, sha)
    except ArtifactCorrupt:
        return False
    return True


def _copy(source: Path, target: Path, path: str) -> ArtifactFile:
    """Copy one file, hashed on the way so that what was hashed is what was written; read-only and on disk after."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with _open_no_follow(source) as reader, target.open("xb") as writer:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            writer.write(chunk)
        writer.flush()
        os.fchmod(writer.fileno(), 0o400)
        os.fsync(writer.fileno())
    return ArtifactFile(path, size, digest.hexdigest())


def _open_no_follow(path: Path) -> BinaryIO:
    # The name was checked a moment ago; O_NOFOLLOW keeps a link from slipping in between.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb")


def _write_durably(path: Path, payload: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(payload)
        stream.flush()
        os.fchmod(stream.fileno(), 0o400)
        os.fsync(stream.fileno())


def _rename_unless_there(staging: Path, target: Path) -> None:
    """Rename a directory into place; where another process was first, keep its one, which has the same sum."""
    try:
        staging.rename(target)
    except OSError:
        if not (target / MANIFEST).is_file():
            raise


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
