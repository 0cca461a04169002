"""A dataset with every kind of row after somebody was erased: its card is true of what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.unit.feedback.site import NOW_MS, Site, feedback, inference
from thumbwheel.dataset_figures import AS_FROZEN, NOT_IN_ROWS
from thumbwheel.erasing.job import forget
from thumbwheel.erasing.verb import ask
from thumbwheel.erasure import person_of
from thumbwheel.home import read_secret
from thumbwheel.records import Augment
from thumbwheel.store import dataset_rows, erasure_rows
from thumbwheel.why import explain

CORRECTED, THUMBS = range(60), range(60, 90)
TAGS = ("billing", "退货")


def said(site: Site) -> None:
    """60 corrections of two tags, 30 thumbs, and one word for word like another, of somebody else."""
    site.policies(uncorrected="kto", augment=Augment(kinds=("noise",)))
    for n in CORRECTED:
        question = f"我的第{n}个订单到哪里了" if n % 2 else f"Where is my order number {n} please"
        site.say(
            inference(n, messages=[{"role": "user", "content": f"{question}, write to me{n}@example.com"}]),
            feedback(n, tags=[TAGS[n % 2]]),
        )
    for n in THUMBS:
        site.say(
            inference(n, answer=f"Your parcel {n} arrives tomorrow morning."),
            feedback(n, correction=None, thumb="up" if n % 10 else "down"),
        )
    site.say(feedback(7, "fb-again", author="ann", tags=["twice"], at_ms=NOW_MS - 10))
    site.read()


def erase(site: Site, *people: str) -> None:
    secret = read_secret(site.home)
    for who in people:
        ask(site.store, site.log, "shop", person_of(secret, "shop", who), lambda: site.now_ms)
    forget(site.store, site.log, site.artifacts, site.home, secret, lambda: site.now_ms)


def files(site: Site, dataset: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    folder = site.artifacts.path(dataset)
    rows = [json.loads(one) for one in (folder / "rows.jsonl").read_bytes().splitlines()]
    return rows, json.loads((folder / "card.json").read_bytes())


def test_every_figure_of_the_card_is_what_a_count_of_its_rows_gives(tmp_path: Path) -> None:
    site = Site(tmp_path / "home")
    said(site)
    dataset = site.freeze()
    rows, before = files(site, dataset)
    trained = next(row for row in rows if "augmented" in row)
    judged = next(row for row in rows if row["kind"] == "kto" and row["label"] is False)
    erase(site, trained["author"], judged["author"], "ann")
    with site.store.read() as tx:
        now = erasure_rows.standing(tx, dataset)
        assert dataset_rows.dataset_named(tx, dataset[:12])["id"] == now != dataset
        assert explain(tx, dataset)[0].startswith(f"It is dataset {now[:12]}")
        assert "says nothing any more" in explain(tx, trained["feedback"])[0]
    left, after = files(site, now)
    gone = [row for row in rows if row["author"] in (trained["author"], judged["author"])]
    assert len(left) == len(rows) - len(gone) and after["erased"] == len(gone) == 3
    assert after["coverage"] != before["coverage"] and "twice" not in after["coverage"]["tags"]
    assert sum(one["rows"] for one in after["coverage"]["tags"].values()) == after["rows"] == before["rows"] - 1
    assert after["kto"] != before["kto"] and after["merged"] == before["merged"] - 1
    # The log without them, curated once more, makes the same rows, and counts them the same.
    done = site.replay(now, tmp_path / "again")
    assert not done.rows_differ, "weights too"
    differ = {str(one["card"]) for one in done.differences if "card" in one}
    assert differ <= {*AS_FROZEN, *NOT_IN_ROWS, "erased", "as_frozen", "uncounted"}
    assert {"coverage", "kto", "augmented", "rows"} <= before.keys() - differ
    assert set(after["as_frozen"]) == set(AS_FROZEN) and after["uncounted"] == ["redacted"]
    assert "redacted" not in after and before["redacted"] == {"EMAIL": 60}
    site.close()
