from __future__ import annotations

import json
from pathlib import Path

import pytest

from thumbwheel import keys
from thumbwheel.roles import role_of


@pytest.mark.parametrize(
    ("rights", "role"),
    [
        ((), "user"),
        (("author", "pin"), "user"),
        (("author", "expert"), "expert"),
        (("teacher",), "teacher"),
        (("teacher", "expert"), "expert"),
    ],
)
def test_the_role_that_rights_give(rights: tuple[str, ...], role: str) -> None:
    assert role_of(rights) == role_of(frozenset(rights)) == role


@pytest.mark.parametrize("right", ["expert", "teacher"])
def test_a_key_with_the_right_can_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str) -> None:
    made = ["create", "--tenant", "shop", "--right", right, "--home", str(tmp_path), "--json"]
    assert keys.run(made) == 0
    assert json.loads(capsys.readouterr().out)["rights"] == [right]
