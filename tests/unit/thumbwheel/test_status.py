"""The screen, as far as it says why nothing moves."""

from pathlib import Path

from tests.stores import store_in
from thumbwheel import rollouts
from thumbwheel.home import prepare
from thumbwheel.records import Policies, Release
from thumbwheel.status import collect, render
from thumbwheel.store import release_rows


def test_a_candidate_that_waits_is_shown_with_the_reason(tmp_path: Path) -> None:
    home = prepare(tmp_path)
    store = store_in(home.root)
    with store.write() as tx:
        rollouts.create_channel(tx, "support", Policies(log="off"), "m", "main", 1, "test")
        made = Release("rel-new", "support", "candidate", "main", "m", None, None, None, None, None, 2, 1)
        release_rows.insert_release(tx, made)
    with store.read() as tx:
        screen = render(collect(tx, home, 3))
    store.close()
    assert f"waits    candidate rel-new: {rollouts.LOGS_NOTHING}" in screen
