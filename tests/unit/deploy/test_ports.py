"""Listening sockets: the usual port, a free one, or the one that was asked for."""

import socket

import pytest

from deploy.ports import listen, url
from thumbwheel.errors import SettingsError


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_the_usual_port_is_taken_if_it_is_free_else_any_other():
    usual = free_port()
    with listen("127.0.0.1", "api_port", None, usual) as first:
        assert url("127.0.0.1", first) == f"http://127.0.0.1:{usual}"
        with listen("127.0.0.1", "api_port", None, usual) as second:
            assert second.getsockname()[1] not in (usual, 0)


def test_a_port_that_a_person_set_is_that_port_or_an_error_by_its_key():
    wanted = free_port()
    with listen("127.0.0.1", "admin_port", wanted, 1) as held:
        assert held.getsockname()[1] == wanted
        with pytest.raises(SettingsError) as caught:
            listen("127.0.0.1", "admin_port", wanted, 1)
    assert caught.value.problems[0][:2] == ("admin_port", f"holds {wanted}")
    assert "another process listens there" in caught.value.problems[0][2]


def test_a_host_that_is_not_here_is_an_error():
    for key, host in (("api_port", "host"), ("admin_port", "admin_host")):
        with pytest.raises(SettingsError) as caught:
            listen("192.0.2.1", key, None, free_port())
        assert caught.value.problems[0][0] == host


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:")])
def test_clients_are_told_an_address_that_they_can_reach(host, shown):
    with listen(host, "api_port", None, free_port()) as held:
        assert url(host, held).startswith(shown)


def test_a_connection_waits_in_the_queue_before_anyone_accepts():
    with (
        listen("127.0.0.1", "api_port", None, free_port()) as held,
        socket.create_connection(held.getsockname(), timeout=2) as client,
    ):
        accepted, _ = held.accept()
        with accepted:
            assert accepted.getpeername() == client.getsockname()
