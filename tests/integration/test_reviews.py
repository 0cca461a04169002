"""Reviews through the running service: what waits is approved by a person, and the next run learns it."""

import json

from tests.integration.service import ANSWERS, running

QUESTION = "About order 7: the kettle of ann.lee@example.org is late and nobody answers."


def contested(service, user, correction):
    answer = service.ask("support", QUESTION, user)
    return service.say(answer["id"], thumb="down", correction=correction)


def standing(service, feedback):
    url = f"{service.endpoint('api')}/v1/feedback/{feedback}"
    told = service.http.get(url, headers=service.key("app")).json()
    return told["state"], told["reason"]


def test_a_contradiction_waits_until_reviewers_settle_it(tmp_path):
    with running(tmp_path) as service:
        service.channel("support", auto_rollout=False, reviews=2)
        service.teach("support", 60)
        right = contested(service, "user1", ANSWERS["late"])
        wrong = contested(service, "user2", "CASE other. That is your own affair.")
        service.run_to_end("support")
        assert {standing(service, one) for one in (right, wrong)} == {("waiting", "contradiction")}

        queue = service.command("review", "list", "support", "--state", "contradiction")
        assert [case["feedback"] for case in queue["reviews"]] == [right, wrong]
        assert "[EMAIL_1]" in str(queue) and "ann.lee" not in str(queue)
        assert "ann.lee" in str(service.command("review", "show", "support", right, "--unmasked"))
        drawn = service.command("review", "sample", "support", "--limit", "1", "--seed", "monday")
        assert drawn["reviews"][0]["feedback"] in (right, wrong)

        first = service.command("review", "approve", "support", right, "--reviewer", "ann", "--accuracy", "5")
        assert service.command("review", "approve", "support", right, "--reviewer", "ann", "--accuracy", "5") == first
        service.run_to_end("support")
        assert standing(service, right) == ("waiting", "contradiction"), "two are needed"
        service.command("review", "approve", "support", right, "--reviewer", "bob", "--accuracy", "4")
        left = service.command("review", "list", "support")["reviews"]
        assert [case["feedback"] for case in left] == [wrong]

        run = service.run_to_end("support")
        assert standing(service, right) == ("used", None)
        assert standing(service, wrong) == ("refused", "superseded")
        rows = (service.home / "artifacts" / run["dataset"] / "rows.jsonl").read_text().splitlines()
        (row,) = [row for row in map(json.loads, rows) if row["feedback"] == right]
        assert row["completion"] == ANSWERS["late"] and row["reviewers"] == 2 and first["id"] in row["reviews"]

        told = service.command("review", "agreement", "support")
        assert (told["reviews"], told["feedback"]["approved"]) == (2, 1)
        assert told["rubric"]["scores"]["accuracy"]["mean"] == 4.5
        assert any("approved by reviewers" in sentence for sentence in service.command("why", right))
