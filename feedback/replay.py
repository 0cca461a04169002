"""Makes a frozen dataset once more, from the event log and the archive alone, and says whether it is the same.

    thumbwheel replay DATASET --to DIR [--json]

DIR becomes a data directory of its own, with an empty store into which the log is read up to the dataset's positions,
by the consumer's own steps; then it is curated at the moment, under the policies and after the datasets that its card
names. Nothing of the service is changed, and it may run or not. What belongs to somebody who has been erased since is
not brought back: such a dataset is no longer what it was, and the answer says how many records were left out.

Exit status 0 where every byte is the same; 1 where something differs, which is named, or the command cannot do its work
now; 2 where it differs and records that it was made of are nowhere any more, or a file that it takes is gone or
damaged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from feedback.capture import take_snapshot
from feedback.card import reasons_of
from feedback.consumer import take_partitions
from feedback.curate import Curation, curate
from feedback.folders import make
from feedback.freeze import publish
from feedback.ingest import step
from feedback.names import By
from feedback.past import Gap, Past, positions_of
from feedback.snapshot import Limits
from thumbwheel import rollouts
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import a_path, add_json, parser, settings_from
from thumbwheel.dataset_files import CARD, REASONS, ROWS
from thumbwheel.errors import ArtifactError, InvalidRequest, JobError
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import CURATION, FEEDBACK, INFERENCE
from thumbwheel.home import Home, prepare, read_secret
from thumbwheel.printable import printable, printable_lines
from thumbwheel.settings import Settings
from thumbwheel.store import data_rows, dataset_rows, erasure_rows, release_rows
from thumbwheel.store.connection import Store, existing_store, open_store
from thumbwheel.store.segments import Archive, segments

SAME, DIFFERS, GONE = 0, 1, 2
FORMAT = 4  # the first whose card says all that a dataset depends on
ORDER = (INFERENCE, FEEDBACK, CURATION)  # whose an inference is, is known before what was said of it
LISTED = 20  # differences, where a person reads


@dataclass(frozen=True)
class Replayed:
    """What came of it. `differences` name what is not the same, `gaps` what is nowhere any more."""

    dataset: str
    made: str
    differences: tuple[Mapping[str, Any], ...]
    gaps: tuple[Gap, ...]
    erased: int  # records that were left out

    @property
    def rows_differ(self) -> bool:
        """Whether any row is another one."""
        return any("row" in one for one in self.differences)

    @property
    def status(self) -> int:
        """The exit status."""
        if self.dataset == self.made:
            return SAME
        return GONE if self.gaps else DIFFERS


def replay(store: Store, log: EventLog, artifacts: ArtifactStore, secret: bytes, dataset: str, to: Path) -> Replayed:
    """Make the dataset once more under `to`, a folder that is not there yet or empty.

    Raises InvalidRequest, StoreUnavailable; ArtifactError and JobError where a file that it takes cannot be read.
    """
    folder, card = _read(artifacts, dataset)
    make(to)
    with store.read() as tx:
        past = Past(log, Archive(artifacts, segments(tx)), positions_of(card), erasure_rows.erased(tx, secret))
        splits = {one: dataset_rows.splits_by(tx, erasure_rows.standing(tx, one)) for one in (*card["before"], dataset)}
        incumbent = None if card["incumbent"] is None else erasure_rows.standing(tx, card["incumbent"])
    gaps = past.gaps()
    home = prepare(to)
    with closing(open_store(Settings(home=to), home)) as empty:
        _set_out(empty, card, splits)
        read_all(empty, past)
        # Where somebody is missing, the groups that are left would be dealt out otherwise: they have been once.
        curation = _curate(empty, artifacts, card, incumbent, splits[dataset] if past.left_out else {})
    made = publish(ArtifactStore(home.artifacts), home.runs / "replay" / "dataset", curation)
    files = {ROWS: curation.rows, REASONS: reasons_of(curation.verdicts, curation.beside), CARD: curation.card}
    differences = [] if made == dataset else differing(folder, files)
    return Replayed(dataset, made, tuple(differences), tuple(gaps), len(past.left_out))


def _read(artifacts: ArtifactStore, dataset: str) -> tuple[Path, dict[str, Any]]:
    artifacts.verify(dataset)
    folder = artifacts.path(dataset)
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"artifact {dataset[:12]} is no dataset with a card") from error
    if card["format"] < FORMAT:
        raise InvalidRequest(f"The dataset's card (format {card['format']}) does not say all that it was made of.")
    return folder, card


def _set_out(store: Store, card: Mapping[str, Any], splits: Mapping[str, Mapping[str, str]]) -> None:
    """What was there before any event: the channel with its policies, and its datasets with their groups."""
    policies = release_rows.policies_from(card["policies"])
    with store.write() as tx:
        rollouts.create_channel(tx, card["channel"], policies, "base", "main", 1, "replay")
        for order, dataset in enumerate(card["before"]):
            dataset_rows.insert_dataset(tx, dataset, card["channel"], "replay", {}, [], splits[dataset], order)


def read_all(store: Store, past: Past) -> None:
    """Ingest the whole log, by the consumer's own steps. Raises StoreUnavailable."""
    taken = take_partitions(store, past, past.places())
    for at in sorted(taken, key=lambda at: (ORDER.index(at.topic), at.partition)):
        last, offset = past.positions[at.topic][at.partition], -1
        while offset != at.offset:
            offset = at.offset
            at = replace(step(store, past, at, 0), streak=0)
        if at.offset != last:  # what is behind was erased, or is nowhere any more
            with store.write() as tx:
                data_rows.advance(tx, at.topic, at.partition, at.epoch, at.offset, last)


def _curate(
    store: Store, artifacts: ArtifactStore, card: Mapping[str, Any], incumbent: str | None, dealt: Mapping[str, str]
) -> Curation:
    by, vectors_by = card["names_by"], card["embeddings_by"]
    with store.read() as tx:
        snapshot = take_snapshot(
            tx,
            artifacts,
            release_rows.get_channel(tx, card["channel"]),
            incumbent,
            as_of_ms=card["as_of_ms"],
            window_ms=card["feedback_window_ms"],
            names_by=None if by is None else By(**by),
            embeddings_by=None if vectors_by is None else By(**vectors_by),
            embeddings_off=card["semantic"]["off"],
        )
    since = {id_: card["incumbent"] if first == incumbent else first for id_, first in snapshot.since.items()}
    splits = {**snapshot.splits, **dealt}
    limits = Limits(**card["limits"])
    return curate(replace(snapshot, incumbent=card["incumbent"], since=since, splits=splits, limits=limits))


def differing(folder: Path, made: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """What is not the same in the files: rows and their fields, where feedback stands, and what the card says."""
    before = {name: (folder / name).read_bytes() for name in made}
    return [
        *_rows(_by(before[ROWS], "id"), _by(made[ROWS], "id")),
        *_places(_by(before[REASONS], "feedback"), _by(made[REASONS], "feedback")),
        *_facts(json.loads(before[CARD]), json.loads(made[CARD])),
    ]


def _by(lines: bytes, key: str) -> dict[str, dict[str, Any]]:
    return {one[key]: one for one in map(json.loads, lines.splitlines())}


def _rows(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for id_ in sorted(before.keys() | after.keys()):
        was, is_ = before.get(id_, {}), after.get(id_, {})
        if was != is_:
            what = "changed" if was and is_ else "added" if is_ else "removed"
            fields = [key for key in sorted({*was, *is_}) if was.get(key) != is_.get(key)] if was and is_ else []
            yield {"row": id_, "what": what, "feedback": (was or is_).get("feedback"), "fields": fields}


def _places(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for feedback in sorted(before.keys() | after.keys()):
        was, is_ = (_place(one.get(feedback)) for one in (before, after))
        if was != is_:
            yield {"feedback": feedback, "was": was, "is": is_}


def _place(said: Mapping[str, Any] | None) -> str | None:
    return None if said is None else f"{said['state']} ({said['reason']})"


def _facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            yield {"card": key, "was": before.get(key), "is": after.get(key)}


# the verb


def run(argv: list[str]) -> int:
    """The verb `replay`. Returns 0 where the dataset is the same, 1 where not, 2 where records are gone."""
    options = parser("replay")
    options.add_argument("dataset", help="the dataset's id, or its beginning")
    options.add_argument(
        "--to", metavar="DIR", type=a_path, required=True, help="a folder that is not there yet, or empty"
    )
    add_json(options)
    arguments = options.parse_args(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    with closing(existing_store(settings, home)) as store, closing(open_log(settings, home)) as log:
        with store.read() as tx:
            found = dataset_rows.dataset_named(tx, arguments.dataset)["id"]
        try:
            done = replay(store, log, ArtifactStore(home.artifacts), read_secret(home), found, Path(arguments.to))
        except (ArtifactError, JobError) as error:
            print(f"thumbwheel: {found} cannot be made again: {printable(str(error))}", file=sys.stderr)
            return GONE
    print(printable_lines(json.dumps(_told(done), ensure_ascii=False) if arguments.json else "\n".join(_said(done))))
    return done.status


def _told(done: Replayed) -> dict[str, Any]:
    return {
        "dataset": done.dataset,
        "same": done.dataset == done.made,
        "same_rows": not done.rows_differ,
        "made": done.made,
        "differences": list(done.differences),
        "gone": [asdict(gap) for gap in done.gaps],
        "erased": done.erased,
    }


def _said(done: Replayed) -> list[str]:
    if done.dataset == done.made:
        return [f"same {done.dataset}"]
    told = [f"{done.dataset} is not the same: the log makes {done.made}"]
    for one in done.differences[:LISTED]:
        if "row" in one:
            fields = f" in {', '.join(one['fields'])}" if one["fields"] else ""
            told.append(f"  row {one['row']} of {one['feedback']} {one['what']}{fields}")
        elif "feedback" in one:
            told.append(f"  {one['feedback']} was {one['was'] or 'a row'} and is {one['is'] or 'a row'}")
        else:
            told.append(f"  the card's {one['card']} was {json.dumps(one['was'])} and is {json.dumps(one['is'])}")
    if len(done.differences) > LISTED:
        told.append(f"  and {len(done.differences) - LISTED} more; --json has all")
    if done.erased:
        told.append(f"{done.erased} records belong to persons who were erased, and are not brought back.")
    if not done.rows_differ:
        told.append("All rows are the same; what differs is said of them.")
    told += [f"No longer there, neither in the log nor in the archive: {gap.told}." for gap in done.gaps]
    return told
