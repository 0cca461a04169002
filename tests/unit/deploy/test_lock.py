from __future__ import annotations

from deploy.lock import beyond, split

ONE = "blis==1.3.4 \\\n    --hash=sha256:aa\n    # via thinc\n"
TWO = "torch==2.13.0+cpu \\\n    --hash=sha256:bb\n"
THREE = "torch-geometric==1.0 \\\n    --hash=sha256:cc\n"


def test_a_package_is_split_off_and_none_whose_name_begins_alike() -> None:
    assert split(ONE + TWO + THREE, "torch") == (ONE + THREE, TWO)


def test_what_another_lock_has_is_left_out_whatever_its_hashes() -> None:
    held = TWO.replace("bb", "dd").replace("+cpu", "")
    assert beyond(ONE + TWO + THREE, held) == ONE + THREE
