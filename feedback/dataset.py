"""`thumbwheel dataset`: frozen datasets in words, what changed between two, and training data out and in.

    thumbwheel dataset list [--channel NAME]
    thumbwheel dataset show ID
    thumbwheel dataset diff ID             beside the dataset before it on its channel
    thumbwheel dataset diff ID ID
    thumbwheel dataset export ID --to DIR --format sharegpt|alpaca|hf|jsonl [--split NAME|all]
                       [--kind sft|preference|kto]
    thumbwheel dataset import FILE_OR_DIR --channel NAME [--format ...] [--author NAME] [--role user|expert]
                       [--tag NAME]... [--tenant NAME]

An id may be cut short. Each takes --json. They read store, artifacts and log themselves, so they answer while the
service is down too; what is imported then is taken in when it is up. A path is never taken from a request, so none of
this is in the admin API. docs/datasets.md has the forms.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from feedback import forms
from feedback.datafiles import passed_over
from feedback.difference import difference
from feedback.exports import lay_out, write
from feedback.frozen import read_frozen
from feedback.imports import Destination, bring_in, read_files, tenant_of
from feedback.meaning import NOT_CONFIGURED
from feedback.mix import OTHERS
from feedback.splits import TEST, TRAIN, VALIDATION
from thumbwheel.artifacts import ArtifactStore
from thumbwheel.cli import COMMAND_LINE, a_path, a_text, add_json, parser, settings_from
from thumbwheel.clock import as_told, system_clock
from thumbwheel.coverage import in_words
from thumbwheel.errors import InvalidRequest
from thumbwheel.eventlog import EventLog
from thumbwheel.eventlog.opening import open_log
from thumbwheel.events import MAX_NAME_CHARS, MAX_TAG_CHARS, ExclusionEvent
from thumbwheel.exclusions import holding
from thumbwheel.home import Home, read_secret
from thumbwheel.keys import MAX_TENANT
from thumbwheel.printable import printable, printable_lines
from thumbwheel.roles import EXPERT, USER
from thumbwheel.store import curation_rows, dataset_rows, fleet_rows, release_rows
from thumbwheel.store.connection import Store, existing_store
from thumbwheel.why import EXPLAINED

SPLITS = (TRAIN, VALIDATION, TEST)
ALL = "all"
SHOWN = 12  # characters of an id, where a person reads
LISTED = 20  # of a difference's rows, where a person reads
NAMES = {"list": (0, 0), "show": (1, 1), "diff": (1, 2), "export": (1, 1), "import": (1, 1)}


def run(argv: list[str]) -> int:
    """The verb `dataset`."""
    arguments = _options(argv)
    settings = settings_from(arguments)
    home = Home(settings.home)
    with closing(existing_store(settings, home)) as store:
        if arguments.action == "import":
            with closing(open_log(settings, home)) as log:
                return _import(store, log, read_secret(home), arguments)
        artifacts = ArtifactStore(home.artifacts)
        act = {"list": _list, "show": _show, "diff": _diff, "export": _export}[arguments.action]
        return act(store, artifacts, arguments)


def _options(argv: list[str]) -> argparse.Namespace:
    options = parser("dataset")
    options.add_argument("action", choices=NAMES)
    options.add_argument("what", nargs="*", help="a dataset's id, or its beginning; import: a file or a folder")
    options.add_argument("--channel", help="list: this channel's alone; import: whose rows they become")
    options.add_argument("--to", metavar="DIR", type=a_path, help="export: a folder that is not there yet, or empty")
    options.add_argument("--format", choices=forms.FORMS, help="import: by itself, if it is left out")
    options.add_argument("--split", choices=(*SPLITS, ALL), default=TRAIN, help="export: train by default")
    options.add_argument("--kind", choices=forms.KINDS, default=forms.SFT, help="export: sft by default")
    options.add_argument(
        "--author", type=a_text(MAX_NAME_CHARS), help="import: of whom all rows are; else each conversation has its own"
    )
    options.add_argument("--role", choices=(USER, EXPERT), default=USER, help="import: whose word it is")
    options.add_argument(
        "--tag", type=a_text(MAX_TAG_CHARS), action="append", default=[], help="import: what all rows are marked with"
    )
    options.add_argument(
        "--tenant", type=a_text(MAX_TENANT), help="import: whose rows they become, where there are several tenants"
    )
    add_json(options)
    arguments = options.parse_args(argv)
    least, most = NAMES[arguments.action]
    if not least <= len(arguments.what) <= most:
        options.error(f"{arguments.action} takes {' or '.join(map(str, sorted({least, most})))} of them")
    needs = {"export": ("to", "format"), "import": ("channel",)}.get(arguments.action, ())
    for name in needs:
        if getattr(arguments, name) is None:
            options.error(f"{arguments.action} needs --{name}")
    return arguments


def _tell(told: object, words: Sequence[str], arguments: argparse.Namespace) -> int:
    if arguments.json:
        print(printable_lines(json.dumps(told, ensure_ascii=False)))
    else:
        print("\n".join(map(printable, words)))
    return 0


def _import(store: Store, log: EventLog, secret: bytes, arguments: argparse.Namespace) -> int:
    path = Path(arguments.what[0])
    rows, unread = read_files(path, arguments.format), passed_over(path)
    tenant = tenant_of(store, arguments.tenant)
    to = Destination(arguments.channel, tenant, arguments.author, arguments.role, secret, tuple(arguments.tag))
    done = bring_in(store, log, rows, to, system_clock)
    told = {"channel": to.channel, "rows": done.rows, "new": done.new, "repeated": done.repeated, "unread": unread}
    words = [f"{done.rows} rows of {arguments.what[0]}, of which {done.new} are new to {to.channel}."]
    if done.repeated:
        words.append(f"{done.repeated} say the same as another row there, and count once.")
    if known := done.rows - done.new - done.repeated:
        words.append(f"{known} were brought in before.")
    if unread:
        words.append(f"{len(unread)} files are no data by their names, and were not read:")
        words += _some([f"  {name}" for name in unread])
    words.append(f"`thumbwheel channel ledger {to.channel}` counts them;")
    words.append(f"`thumbwheel run start {to.channel}` curates them.")
    return _tell(told, words, arguments)


def _list(store: Store, _: ArtifactStore, arguments: argparse.Namespace) -> int:
    with store.read() as tx:
        if arguments.channel is not None:
            release_rows.get_channel(tx, arguments.channel)
        found = dataset_rows.datasets_of(tx, arguments.channel)
    told = [
        {name: row[name] for name in ("id", "channel", "run", "created_ms")}
        | {name: row["card"].get(name) for name in ("rows", "new", "splits")}
        for row in found
    ]
    words = [
        f"{one['id'][:SHOWN]}  {as_told(one['created_ms'])}  {one['channel']}  {one['rows']} rows: "
        f"{_counted(one['splits'])}"
        for one in told
    ]
    return _tell({"datasets": told}, words or ["There is no dataset yet; a run freezes one."], arguments)


def _show(store: Store, artifacts: ArtifactStore, arguments: argparse.Namespace) -> int:
    with store.read() as tx:
        row = dataset_rows.dataset_named(tx, arguments.what[0])
    frozen = read_frozen(artifacts, row["id"])
    files = [{"path": file.path, "bytes": file.size, "sha256": file.sha256} for file in frozen.files]
    told = {name: row[name] for name in ("id", "channel", "run", "created_ms", "card")} | {"files": files}
    return _tell(told, _in_words(told), arguments)


def _in_words(told: Mapping[str, Any]) -> list[str]:
    card = told["card"]
    words = [
        f"Dataset {told['id']} of channel {told['channel']}, frozen {as_told(told['created_ms'])} by {told['run']}.",
        f"Of {card['feedback']} feedback {card['rows']} are rows ({_counted(card['splits'])}), of which {card['new']} "
        f"are new to the release that was stable then ({_counted(card.get('new_by_split', {}))}).",
    ]
    if card.get("merged"):
        words.append(f"{card['merged']} more said the same, and are merged into them.")
    if (semantic := card.get("semantic", {})).get("off") not in (None, NOT_CONFIGURED):
        words.append(f"Rows that say the same in other words were not looked for ({semantic['off']}).")
    if semantic.get("without") and semantic["off"] is None:
        words.append(f"{semantic['without']} rows have no embeddings and were compared with none.")
    if card.get("roles"):
        words.append(
            f"By {card['authors']} authors: {_counted(card['roles'])}. The channel's trust was {card['trust']}."
        )
    for title, state in (("Not in it", "refused"), ("Waiting", "waiting")):
        words += [f"{title}, {n} ({reason}): {EXPLAINED.get(reason, reason)}." for reason, n in card[state].items()]
    if thumbs := card.get("kinds", {}).get(forms.KTO):
        words.append(f"{thumbs} thumbs without a correction are rows of their own kind, kto.")
    if made := card.get("augmented", {}).get("rows"):
        words.append(f"{made} more rows are augmented: {_counted(card['augmented']['kinds'])}.")
    words += in_words(card["coverage"]) if "coverage" in card else []
    mix = card.get("mix") or {}
    parts = {**(mix.get("shares") or {}), **({OTHERS: mix["other"]} if mix.get("other") else {})}
    for tag, part in parts.items():
        words.append(
            f"Of the mix {part['got']:.0%} are {tag}, and {part['wanted']:.0%} were wanted; it left out "
            f"{part['left_out']} such rows."
        )
    if mix.get("too_old"):
        words.append(f"{mix['too_old']} were older than the {mix['max_age_days']} days that it looks back.")
    if card.get("redacted"):
        words.append(f"Taken out of conversations: {_counted(card['redacted'])}.")
    if card.get("erased"):
        frozen = ", ".join(card.get("as_frozen", ()))
        words.append(
            f"{card['erased']} rows went since with persons who were erased. The figures of rows are of those that are "
            f"left; as it was frozen still stands: {frozen}."
        )
    words += [f"{file['path']}: {file['bytes']} bytes, sha256 {file['sha256']}." for file in told["files"]]
    return words


def _diff(store: Store, artifacts: ArtifactStore, arguments: argparse.Namespace) -> int:
    with store.read() as tx:
        ids = [dataset_rows.dataset_named(tx, name)["id"] for name in arguments.what]
        before = ids[0] if len(ids) == 2 else dataset_rows.dataset_before(tx, ids[0])
    if before is None:
        raise InvalidRequest(f"{ids[0][:SHOWN]} is its channel's first dataset: there is none before it.")
    found = difference(read_frozen(artifacts, before), read_frozen(artifacts, ids[-1]))
    return _tell(found, _changes(found), arguments)


def _changes(found: Mapping[str, Any]) -> list[str]:
    counts = found["counts"]
    words = [
        f"From {found['from'][:SHOWN]} to {found['to'][:SHOWN]}, thumbs and other wordings among the rows: "
        f"{counts['before']} were there and {counts['after']} are; {counts['same']} stay, {counts['added']} are added, "
        f"{counts['removed']} removed, {counts['changed']} have another target."
    ]
    words += _some([f"+ {_line(one)} {_stood(one['was'], 'was')}" for one in found["added"]])
    words += _some([f"- {_line(one)} {_stood(one['is'], 'is')}" for one in found["removed"]])
    words += _some([f"~ {one['from']} is {one['to']} {one['split']}" for one in found["changed"]])
    if found["moved"] is None:
        return [*words, "One of them does not say where other feedback stood."]
    words.append(f"{counts['moved']} feedback that is no row stands elsewhere now.")
    words += _some([f"  {one['feedback']} was {one['was']}, is {one['is']}" for one in found["moved"]])
    return words + [f"  {place}: {was}, now {is_}" for place, (was, is_) in found["reasons"].items() if was != is_]


def _line(one: Mapping[str, Any]) -> str:
    return f"{one['id']} {one['split']}; {one['feedback']}"


def _stood(place: str | None, verb: str) -> str:
    return f"{verb} not there" if place is None else f"{verb} {place}"


def _some(lines: Sequence[str]) -> list[str]:
    more = len(lines) - LISTED
    return [*lines[:LISTED], *([f"  and {more} more; --json has all"] if more > 0 else [])]


def _export(store: Store, artifacts: ArtifactStore, arguments: argparse.Namespace) -> int:
    with store.read() as tx:
        row = dataset_rows.dataset_named(tx, arguments.what[0])
        exclusions = holding(curation_rows.of_channel(tx, row["channel"], ExclusionEvent))
    splits = SPLITS if arguments.split == ALL else (arguments.split,)
    rows = read_frozen(artifacts, row["id"]).rows
    excluded = [
        one["id"] for one in rows if exclusions.of(one["feedback"], one["inference"], one["author"]) is not None
    ]
    rows = tuple(one for one in rows if one["id"] not in excluded)
    export = lay_out(rows, arguments.format, arguments.kind, splits, row["channel"])
    write(Path(arguments.to), export.files)
    told = {
        "dataset": row["id"],
        "format": arguments.format,
        "kind": arguments.kind,
        "files": sorted(export.files),
        "rows": dict(export.rows),
        "left_out": list(export.left_out),
        "excluded": excluded,
    }
    with store.write() as tx:
        fleet_rows.record(tx, system_clock(), COMMAND_LINE, "export_dataset", row["id"], None, told)
    words = [f"{_counted(export.rows)} of {row['id'][:SHOWN]} are in {arguments.to} as {arguments.format}."]
    if excluded:
        words.append(f"{len(excluded)} of its rows were excluded since, and are left out.")
    if export.left_out:
        words.append(f"{arguments.format} cannot say these conversations, which are left out:")
        words += _some([f"  {id_}" for id_ in export.left_out])
    return _tell(told, words, arguments)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {name}" for name, n in sorted(counts.items())) or "none"
