"""What a key may be given, by its kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thumbwheel import keys


@pytest.mark.parametrize(("kind", "right"), [([], "expert"), (["--admin"], "raw"), (["--admin"], "arbiter")])
def test_a_key_with_a_right_of_its_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: list[str], right: str
) -> None:
    made = ["create", "--tenant", "shop", *kind, "--right", right, "--home", str(tmp_path), "--json"]
    assert keys.run(made) == 0
    assert json.loads(capsys.readouterr().out)["rights"] == [right]


@pytest.mark.parametrize(("kind", "right"), [([], "raw"), ([], "arbiter"), (["--admin"], "expert")])
def test_no_key_has_a_right_of_the_other_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: list[str], right: str
) -> None:
    made = ["create", "--tenant", "shop", *kind, "--right", right, "--home", str(tmp_path)]
    with pytest.raises(SystemExit):
        keys.run(made)
    assert f"{right}: keys of the" in capsys.readouterr().err
