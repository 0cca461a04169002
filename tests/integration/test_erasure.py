"""A whole service that has talked, been corrected and learnt; then one person is erased while it goes on."""

from __future__ import annotations

from pathlib import Path

from pyarrow import parquet

from tests.integration.service import ANSWERS, Service, complaint, running
from tests.stores import store_in
from thumbwheel.erasure import person_of, tombstone
from thumbwheel.home import Home, read_secret
from thumbwheel.store import dataset_rows, release_rows

HER, HERS = "mallow-user-77", "zinnia"
QUESTIONS = 12
OF_TESTS = ("recorded.json", "requests.jsonl")


def talk(service: Service, first: int) -> list[str]:
    """She asks and corrects; the ids of her feedback."""
    heard = []
    for number in range(first, first + QUESTIONS):
        question, right = complaint(number)
        answer = service.ask("support", f"{question} It was for my {HERS}.", HER)
        assert answer is not None, service.failed_requests
        said = service.say(answer["id"], thumb="down", correction=f"{right} And your {HERS}?", comment=HERS)
        assert said is not None
        heard.append(said)
    return heard


def files_with(root: Path, *needles: str) -> list[str]:
    """As `grep -a` finds them, but in the test parts' own files: the tiny recipe writes what was learnt as text where a
    real one writes weights, and the recorded engine notes what it was asked.
    """
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.name not in OF_TESTS:
            content = path.read_bytes()
            if path.suffix == ".parquet":
                content += repr(parquet.read_table(path).to_pylist()).encode()
            found += [f"{path.relative_to(root)}: {one}" for one in needles if one.encode() in content]
    return found


def test_an_erased_person_is_in_no_file_of_a_home_that_has_learnt_from_her(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.channel("support", auto_rollout=False)
        hers = talk(service, 500)
        service.teach("support", 100)
        run = service.run_to_end("support")
        assert run["report"] is not None, service.tails()
        home = Home(service.home)
        before = service.ledger("support")
        assert {"artifacts", "events", "runs", "store"} <= {
            one.partition(".")[0].partition("/")[0] for one in files_with(home.root, HERS)
        }
        told = service.command("erase", "--end-user", HER, "--tenant", "default", "--yes")
        assert (told["runs"], told["releases"]) == ([run["id"]], [run["release"]])
        assert told["changed"]["datasets"] == 1 and told["changed"]["reports"] == 1, told
        assert files_with(home.root, HERS, HER) == []

        after = service.ledger("support")
        assert after["acknowledged"] == before["acknowledged"] and after["refused"]["erased"] == QUESTIONS
        assert after["used"] == before["used"] - QUESTIONS == 100
        assert "erased" in " ".join(service.command("why", hers[0]))
        report = service.admin("GET", f"/admin/v1/runs/{run['id']}/report")
        assert any(test.get("erased") for test in report["tests"])
        assert any(test["question"] for test in report["tests"])

        # What she says now is answered and counted, and none of it stays beyond the log's next hour.
        talk(service, 600)
        service.wait_until(
            lambda: service.ledger("support")["refused"]["erased"] == 2 * QUESTIONS, "what she says now to be counted"
        )
        service.teach("support", 40, first=200)
        again = service.run_to_end("support")
        assert again["state"] != "failed", again
        assert service.stop() == 0
    person = tombstone(person_of(read_secret(home), "default", HER))
    store = store_in(home.root)
    with store.read() as tx:
        dataset = release_rows.get_run(tx, again["id"]).dataset
        authors = {row["author"] for row in dataset_rows.examples_where(tx, dataset=str(dataset))}
    store.close()
    assert HER not in authors and person not in authors and len(authors) > 100
    assert {one.partition(".")[0] for one in files_with(home.root, HERS, HER)} == {"events"}
    told = service.command("erase", "--end-user", HER, "--tenant", "default", "--yes")
    assert files_with(home.root, HERS, HER) == []
    assert ANSWERS["late"].encode() in b"".join(path.read_bytes() for path in home.artifacts.rglob("rows.jsonl"))
