"""Lines of a dataset's files."""

from thumbwheel.dataset_files import line


def test_the_same_value_makes_the_same_bytes_in_whatever_order_it_was_made() -> None:
    assert line({"b": "退货", "a": 1.5}) == line({"a": 1.5, "b": "退货"}) == '{"a":1.5,"b":"退货"}\n'.encode()


def test_what_has_line_ends_is_one_line() -> None:
    assert line({"a": "one\ntwo\r\n"}).count(b"\n") == 1
