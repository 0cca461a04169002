"""The artifact store: identity, atomicity, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.full_disk import no_room
from thumbwheel.artifacts import MANIFEST, STAGING, STAGING_LIFE_S, TOMBSTONE, ArtifactStore
from thumbwheel.errors import ArtifactCorrupt, ArtifactError, StoreUnavailable, UnknownArtifact


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    directory = tmp_path / "source"
    (directory / "nested" / "deep").mkdir(parents=True)
    (directory / "weights.bin").write_bytes(bytes(range(256)) * 5000)
    (directory / "nested" / "deep" / "card.txt").write_text("a card\n")
    (directory / "empty").write_bytes(b"")
    return directory


def overwrite(file: Path, payload: bytes) -> None:
    file.chmod(0o600)
    file.write_bytes(payload)


def test_published_files_read_back_and_the_manifest_proves_them(store: ArtifactStore, source: Path) -> None:
    sha = store.publish(source, "dataset", {"rows": 3})
    directory = store.path(sha)
    manifest = store.manifest(sha)

    assert hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest() == sha == manifest.sha
    assert (manifest.kind, manifest.meta) == ("dataset", {"rows": 3})
    assert [file.path for file in manifest.files] == ["empty", "nested/deep/card.txt", "weights.bin"]
    for file in manifest.files:
        original = (source / file.path).read_bytes()
        assert (directory / file.path).read_bytes() == original
        assert (file.size, file.sha256) == (len(original), hashlib.sha256(original).hexdigest())
    store.verify(sha)


def test_the_same_content_is_one_artifact_and_any_difference_another(store: ArtifactStore, source: Path) -> None:
    first = store.publish(source, "dataset", {"b": 1, "a": 2})
    assert store.publish(source, "dataset", {"a": 2, "b": 1}) == first
    others = [store.publish(source, "adapter", {"a": 2, "b": 1}), store.publish(source, "dataset", {"a": 2, "b": 3})]
    (source / "empty").write_text("no more")
    others.append(store.publish(source, "dataset", {"a": 2, "b": 1}))
    assert len({first, *others}) == 4
    assert sorted(entry.name for entry in store.root.iterdir()) == sorted({first, *others})


def test_the_root_is_private_and_files_are_read_only(store: ArtifactStore, source: Path) -> None:
    directory = store.path(store.publish(source, "dataset", {}))
    assert store.root.stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in directory.rglob("*") if file.is_file())


@pytest.mark.parametrize("sha", ["", "../x", "0" * 63, "0" * 65, "A" * 64, "0" * 63 + "\n", "0" * 64 + "\n", "0" * 64])
def test_an_unknown_name_is_unknown(store: ArtifactStore, sha: str) -> None:
    for ask in (store.path, store.manifest, store.verify):
        with pytest.raises(UnknownArtifact):
            ask(sha)


def test_a_directory_without_manifest_is_no_artifact(store: ArtifactStore) -> None:
    (store.root / ("a" * 64)).mkdir()
    with pytest.raises(UnknownArtifact):
        store.path("a" * 64)


def _link(source: Path) -> None:
    (source / "link").symlink_to(source / "empty")


def _link_folder(source: Path) -> None:
    (source / "folder").symlink_to(source / "nested")


def _pipe(source: Path) -> None:
    os.mkfifo(source / "pipe")


def _manifest(source: Path) -> None:
    (source / MANIFEST).write_text("{}")


@pytest.mark.parametrize("spoil", [_link, _link_folder, _pipe, _manifest])
def test_a_source_with_anything_but_plain_files_is_refused(
    store: ArtifactStore, source: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(source)
    with pytest.raises(ArtifactError):
        store.publish(source, "dataset", {})
    assert list(store.root.iterdir()) == []


def test_a_linked_or_empty_source_and_meta_that_is_no_json_are_refused(
    store: ArtifactStore, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "way").symlink_to(source)
    (tmp_path / "nothing").mkdir()
    for directory, meta in ((tmp_path / "way", {}), (tmp_path / "nothing", {}), (source, {"x": float("nan")})):
        with pytest.raises(ArtifactError):
            store.publish(directory, "dataset", meta)
    with pytest.raises(ArtifactError):
        store.publish(source, "dataset", {"x": object()})
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("name", ["weights.bin", "nested/deep/card.txt", MANIFEST])
def test_one_flipped_bit_is_found_and_its_file_named(store: ArtifactStore, source: Path, name: str) -> None:
    sha = store.publish(source, "dataset", {})
    file = store.path(sha) / name
    payload = bytearray(file.read_bytes())
    payload[len(payload) // 2] ^= 1
    overwrite(file, bytes(payload))
    for check in (store.verify, lambda sha: store.copy_verified(sha, store.root.parent / "copy")):
        with pytest.raises(ArtifactCorrupt, match=name):
            check(sha)
    assert not (store.root.parent / "copy").exists()


def test_a_damaged_artifact_is_not_reported_as_published(store: ArtifactStore, source: Path) -> None:
    sha = store.publish(source, "dataset", {})
    overwrite(store.path(sha) / "empty", b"x")
    with pytest.raises(ArtifactCorrupt, match="empty"):
        store.publish(source, "dataset", {})


@pytest.mark.parametrize("damage", ["missing", "longer", "link"])
def test_missing_longer_and_linked_files_are_corrupt(store: ArtifactStore, source: Path, damage: str) -> None:
    sha = store.publish(source, "dataset", {})
    file = store.path(sha) / "weights.bin"
    payload = file.read_bytes()
    file.unlink()
    if damage == "longer":
        file.write_bytes(payload + b"x")
    elif damage == "link":
        (store.root.parent / "elsewhere").write_bytes(payload)
        file.symlink_to(store.root.parent / "elsewhere")
    with pytest.raises(ArtifactCorrupt, match=r"weights\.bin"):
        store.verify(sha)
    with pytest.raises(ArtifactCorrupt, match=r"weights\.bin"):
        store.copy_verified(sha, store.root.parent / "copy")


def test_a_copy_is_whole_read_only_reused_and_healed(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    sha = store.publish(source, "dataset", {})
    target = tmp_path / "engine" / "adapters" / sha
    assert store.copy_verified(sha, target) == target
    assert (target / "nested/deep/card.txt").read_text() == "a card\n"
    assert all(file.stat().st_mode & 0o777 == 0o400 for file in target.rglob("*") if file.is_file())

    inode = (target / "weights.bin").stat().st_ino
    store.copy_verified(sha, target)
    assert (target / "weights.bin").stat().st_ino == inode

    overwrite(target / "weights.bin", b"damaged")
    store.copy_verified(sha, target)
    assert (target / "weights.bin").read_bytes() == (source / "weights.bin").read_bytes()
    assert [entry.name for entry in target.parent.iterdir()] == [sha]


def test_a_manifest_that_points_outside_is_corrupt(store: ArtifactStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    digest = hashlib.sha256(b"s").hexdigest()
    for path in ("../../secret", "/etc/hostname", "a//b", MANIFEST):
        payload = f'{{"files":[{{"path":"{path}","sha256":"{digest}","size":1}}],"format":1,"kind":"x","meta":{{}}}}\n'
        sha = hashlib.sha256(payload.encode()).hexdigest()
        (store.root / sha).mkdir()
        (store.root / sha / MANIFEST).write_text(payload)
        with pytest.raises(ArtifactCorrupt, match="outside"):
            store.copy_verified(sha, tmp_path / "copy")


@pytest.mark.parametrize("payload", [b"", b"[]", b"{}", b'{"format": 1}', b'{"format": 1, "files": [1], "kind": "x"}'])
def test_a_manifest_that_is_none_is_corrupt(store: ArtifactStore, payload: bytes) -> None:
    sha = hashlib.sha256(payload).hexdigest()
    (store.root / sha).mkdir()
    (store.root / sha / MANIFEST).write_bytes(payload)
    with pytest.raises(ArtifactCorrupt, match="no manifest"):
        store.manifest(sha)


def test_many_publishers_at_once_agree(store: ArtifactStore, source: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        shas = set(pool.map(lambda _: store.publish(source, "dataset", {}), range(16)))
        (sha,) = shas
        copies = set(pool.map(lambda _: store.copy_verified(sha, tmp_path / "copy"), range(16)))
    assert copies == {tmp_path / "copy"}
    store.verify(sha)
    assert [entry.name for entry in store.root.iterdir()] == [sha]


def test_what_a_killed_publication_left_is_swept_but_not_a_running_one(store: ArtifactStore, source: Path) -> None:
    old, running = store.root / f"{STAGING}old", store.root / f"{STAGING}running"
    for directory in (old, running):
        directory.mkdir()
    past = old.stat().st_mtime - STAGING_LIFE_S - 60
    os.utime(old, (past, past))
    store.publish(source, "dataset", {})
    assert running.exists() and not old.exists()


@pytest.mark.parametrize("room", [0, 3, 40])
def test_a_full_disk_takes_no_artifact_and_leaves_no_half_of_one(store: ArtifactStore, source: Path, room: int) -> None:
    with no_room(room), pytest.raises(StoreUnavailable, match="took no dataset"):
        store.publish(source, "dataset", {"rows": 3})
    assert list(store.root.iterdir()) == []
    store.verify(store.publish(source, "dataset", {"rows": 3}))


def test_a_replaced_artifact_is_gone_and_its_sum_leads_to_what_took_its_place(
    store: ArtifactStore, source: Path
) -> None:
    old = store.publish(source, "dataset", {"rows": 2})
    (source / "weights.bin").write_bytes(b"less")
    new = store.replace(old, source, "dataset", {"rows": 1}, 7)
    assert not (store.root / old).exists() and store.standing(old) == new == store.standing(new)
    assert store.path(old) == store.path(new) and store.manifest(old).meta == {"rows": 1}
    store.verify(old)
    assert (store.copy_verified(old, source.parent / "copy") / "weights.bin").read_bytes() == b"less"
    mark = (store.root / f"{old}{TOMBSTONE}").read_text()
    assert json.loads(mark) == {"replaced": old, "by": new, "at_ms": 7}
    (source / "weights.bin").write_bytes(b"nothing")
    newest = store.replace(new, source, "dataset", {"rows": 0}, 8)
    assert store.standing(old) == newest
    assert [one.sha for one in store.of_kinds("dataset")] == [newest] and store.of_kinds("report") == []


def test_replacing_again_changes_nothing(store: ArtifactStore, source: Path) -> None:
    old = store.publish(source, "dataset", {})
    assert store.replace(old, source, "dataset", {}, 7) == old == store.standing(old)
    new = store.replace(old, source, "dataset", {"rows": 1}, 7)
    assert store.replace(old, source, "dataset", {"rows": 1}, 9) == new
    assert json.loads((store.root / f"{old}{TOMBSTONE}").read_text())["at_ms"] == 7


def test_what_is_published_again_under_a_tombstone_is_buried(store: ArtifactStore, source: Path) -> None:
    old = store.publish(source, "dataset", {})
    new = store.replace(old, source, "dataset", {"rows": 1}, 7)
    assert store.publish(source, "dataset", {}) == old and (store.root / old).exists()
    assert store.path(old) == store.path(new)
    store.bury()
    assert not (store.root / old).exists() and store.path(old) == store.path(new)


def test_tombstones_in_a_circle_are_damage(store: ArtifactStore) -> None:
    for one, other in (("a" * 64, "b" * 64), ("b" * 64, "a" * 64)):
        (store.root / f"{one}{TOMBSTONE}").write_text(json.dumps({"replaced": one, "by": other, "at_ms": 1}))
    with pytest.raises(ArtifactCorrupt, match="circle"):
        store.path("a" * 64)
