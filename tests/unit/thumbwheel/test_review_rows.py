"""What reviewers are shown, as the store has it. Run on SQLite here and on PostgreSQL in tests/integration/postgres."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.unit.thumbwheel.test_data_rows import feedback, inference
from thumbwheel.events import ProposalEvent, ReviewEvent
from thumbwheel.ids import mint_inference_id
from thumbwheel.store import curation_rows, data_rows, dataset_rows, ingestion, review_rows
from thumbwheel.store.connection import Store
from thumbwheel.store.dataset_rows import Ruling
from thumbwheel.store.review_rows import Waiting


@pytest.fixture
def store(stores: Callable[..., Store]) -> Iterator[Store]:
    opened = stores()
    yield opened
    opened.close()


def test_what_waits_is_in_order_of_receipt(store: Store) -> None:
    with store.write() as tx:
        inferences = [inference(f"inf-{n}", unit=f"u{n}") for n in range(1, 5)]
        said = [(5 - n, feedback(f"fb-{n}", f"inf-{n}", at_ms=100 if n < 3 else 50)) for n in range(1, 5)]
        ingestion.ingest(tx, inferences, [*said, (9, feedback("fb-5", "inf-4", channel="other"))])
        for of in ("fb-1", "fb-2", "fb-3"):
            row = data_rows.feedback_row(tx, of)
            assert row is not None
            was = ("waiting", "no_run_yet")
            reason = "contradiction" if of != "fb-3" else "quarantined"
            dataset_rows.rule(tx, [Ruling(of, row.at_ms, row.seq, was, "waiting", reason)])
        assert review_rows.waiting(tx, "support", {"contradiction", "quarantined"}) == [
            Waiting("fb-3", "quarantined", "u3"),
            Waiting("fb-2", "contradiction", "u2"),
            Waiting("fb-1", "contradiction", "u1"),
        ]
        assert review_rows.waiting(tx, "support", {"needs_review"}) == []
        assert review_rows.authors(tx, ["fb-1", "fb-9"]) == {"fb-1": "u1"}


def test_a_case_has_its_conversation_and_its_proposals(store: Store) -> None:
    id_ = mint_inference_id("chatcmpl", "support", "shop", 20_000 * 86_400_000, b"s" * 32)
    made = [ProposalEvent(f"pr-{n}", "fb-1", "support", n, f"{n}.", "teacher", "m", "1") for n in (2, 1)]
    words = [ReviewEvent(f"rv-{n}", "fb-1", "support", n, "ann", "approve", scores={"fluency": n}) for n in (2, 1)]
    with store.write() as tx:
        ingestion.ingest(tx, [inference(id_)], [(1, feedback("fb-1", id_))], list(enumerate([*made, *words])))
        ingestion.ingest(tx, [], [(2, feedback("fb-2", "chatcmpl-nowhere"))])
        case, bare = review_rows.case(tx, "fb-1"), review_rows.case(tx, "fb-2")
        assert review_rows.case(tx, "fb-9") is None
        assert curation_rows.on_feedback(tx, "fb-1", ReviewEvent) == words[::-1]
        assert curation_rows.of_channel(tx, "support", ReviewEvent) == words[::-1]
    assert case is not None and bare is not None
    assert (case.messages, case.answer) == ([{"role": "user", "content": "it faded"}], "Oh.")
    assert case.proposals == made[::-1] and case.feedback.correction == "Free return."
    assert (bare.messages, bare.answer, list(bare.proposals)) == (None, None, [])
