import pytest
from hypothesis import given
from hypothesis import strategies as st

from thumbwheel import ids
from thumbwheel.errors import NotFound, Unauthenticated

SECRET = b"s" * 32
MINTED = ids.mint_inference_id("chatcmpl", "support", "default", 1_700_000_000_000, SECRET)


def test_an_inference_id_says_when_whose_and_which_channel() -> None:
    read = ids.read_inference_id(MINTED, SECRET)
    assert read.at_ms == 1_700_000_000_000
    assert read.channel_tag == ids.channel_tag("support")
    assert read.tenant_tag == ids.tenant_tag(SECRET, "default")
    assert read.tenant_tag != ids.tenant_tag(SECRET, "other")


@given(st.integers(0, len(MINTED) - 1), st.sampled_from(ids.ALPHABET + "-é\0"))
def test_any_changed_character_is_refused(at: int, char: str) -> None:
    forged = MINTED[:at] + char + MINTED[at + 1 :]
    if forged != MINTED:
        with pytest.raises(NotFound):
            ids.read_inference_id(forged, SECRET)


@pytest.mark.parametrize("text", ["", "chatcmpl-", "x", MINTED + "0", MINTED.upper(), "../" + MINTED])
def test_no_other_text_is_an_inference_id(text: str) -> None:
    with pytest.raises(NotFound):
        ids.read_inference_id(text, SECRET)


def test_an_id_says_whether_its_inference_was_logged() -> None:
    unlogged = ids.mint_inference_id("cmpl", "support", "default", 5, SECRET, logged=False)
    read = ids.read_inference_id(unlogged, SECRET)
    assert (read.logged, read.at_ms, read.channel_tag) == (False, 5, ids.channel_tag("support"))
    assert ids.read_inference_id(MINTED, SECRET).logged
    for forged in (unlogged[:-1] + ("0" if unlogged[-1] != "0" else "1"), MINTED[:-10] + unlogged[-10:]):
        with pytest.raises(NotFound):
            ids.read_inference_id(forged, SECRET)


def test_an_id_from_before_there_were_unlogged_ones_still_reads() -> None:
    old = "chatcmpl-0000000001abcdefghjkmnpqrs" + ids.channel_tag("support") + ids.tenant_tag(SECRET, "default")
    read = ids.read_inference_id(old + ids.digest32(old.encode(), 10, SECRET), SECRET)
    assert read.logged and read.at_ms == 1


def test_another_secret_does_not_read_it() -> None:
    with pytest.raises(NotFound):
        ids.read_inference_id(MINTED, b"t" * 32)


@given(st.integers(0, 2**47), st.integers(0, 2**47))
def test_ids_sort_by_time(one: int, other: int) -> None:
    if one != other:
        assert (ids.ulid(one) < ids.ulid(other)) == (one < other)


@given(st.integers(0, 2**60 - 1))
def test_base32_reads_back(number: int) -> None:
    assert ids.from_base32(ids.base32(number, 12)) == number


def test_the_same_feedback_has_the_same_id_and_another_has_another() -> None:
    first = ids.feedback_id(MINTED, None, b"down")
    assert first == ids.feedback_id(MINTED, None, b"down")
    assert len({first, ids.feedback_id(MINTED, None, b"up"), ids.feedback_id(MINTED, "anna", b"down")}) == 3


def test_a_token_opens_its_own_inference_until_it_expires() -> None:
    token = ids.feedback_token(MINTED, 2_000, SECRET)
    ids.read_feedback_token(token, 2_000, SECRET)
    with pytest.raises(Unauthenticated):
        ids.read_feedback_token(token, 2_001, SECRET)
    other = ids.mint_inference_id("chatcmpl", "support", "default", 1, SECRET)
    assert ids.opens(token, MINTED, SECRET) and not ids.opens(token, other, SECRET)


TOKEN = ids.feedback_token(MINTED, 2_000, SECRET)


@pytest.mark.parametrize("token", ["", "fbt-", "x" * 50, "fbt-" + "!" * 46, "fbt-" + "é" * 46, TOKEN + "0"])
def test_no_other_text_is_a_token(token: str) -> None:
    with pytest.raises(Unauthenticated):
        ids.read_feedback_token(token, 0, SECRET)


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from(ids.ALPHABET + "-é\0\ud800"))
def test_a_token_is_known_for_ours_before_its_inference_is(at: int, char: str) -> None:
    forged = TOKEN[:at] + char + TOKEN[at + 1 :]
    if forged != TOKEN:
        with pytest.raises(Unauthenticated):
            ids.read_feedback_token(forged, 0, SECRET)


def test_a_longer_expiry_cannot_be_written_into_a_token() -> None:
    later = ids.base32(9_999_999, 10)
    unsealed = "fbt-" + later + TOKEN[14:40]
    assert not ids.opens(unsealed + ids.digest32(unsealed.encode(), 10, SECRET), MINTED, SECRET)


@pytest.mark.parametrize("kind", ids.KINDS)
def test_the_day_is_in_the_id(kind):
    for at_ms in (0, 1, ids.DAY_MS - 1, ids.DAY_MS, 20_778 * ids.DAY_MS, (1 << 48) - 1):
        minted = ids.mint_inference_id(kind, "support", "shop", at_ms, b"s" * 32)
        day = ids.day_of(minted)
        assert day == at_ms // ids.DAY_MS
        low, high = ids.day_bounds(kind, day)
        assert low <= minted < high


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inf-1",
        "chatcmpl-",
        "chatcmpl-0123",
        "chatcmpl-01234_6789",
        "fb-0123456789",
        "x-0123456789",
        "chatcmpl-O123456789",
    ],
)
def test_a_text_that_we_did_not_mint_is_of_no_day(text):
    assert ids.day_of(text) == 0


def test_the_same_entropy_makes_the_same_inference_id() -> None:
    first, again, other = (
        ids.mint_inference_id("chatcmpl", "support", "default", 0, SECRET, entropy=entropy)
        for entropy in (b"0123456789", b"0123456789", b"012345678x")
    )
    assert first == again != other and ids.day_of(first) == 0
    assert ids.read_inference_id(first, SECRET).at_ms == 0
