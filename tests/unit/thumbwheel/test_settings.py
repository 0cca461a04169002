from pathlib import Path

import pytest

from thumbwheel.errors import SettingsError
from thumbwheel.settings import Settings, kafka_servers, kept_s, models_of_names, read_settings


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = read_settings({}, {}, tmp_path)
    assert settings.home == (tmp_path / ".thumbwheel").resolve()
    assert settings.host == "127.0.0.1"


def test_the_administrators_listener_stays_on_this_machine(tmp_path: Path) -> None:
    settings = read_settings({"home": "d", "host": "0.0.0.0"}, {}, tmp_path)
    assert (settings.host, settings.admin_host) == ("0.0.0.0", "127.0.0.1")
    opened = read_settings({"home": "d"}, {"THUMBWHEEL_ADMIN_HOST": "10.0.0.7"}, tmp_path)
    assert (opened.host, opened.admin_host) == ("127.0.0.1", "10.0.0.7")


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "settings.yaml").write_text("train_threads: 2\nmax_lora_rank: 8\nlog_queue: 5\n")
    environment = {"THUMBWHEEL_HOME": str(home), "THUMBWHEEL_MAX_LORA_RANK": "16", "THUMBWHEEL_LOG_QUEUE": "6"}
    settings = read_settings({"log_queue": 7}, environment, tmp_path)
    assert (settings.train_threads, settings.max_lora_rank, settings.log_queue) == (2, 16, 7)


def test_every_problem_is_reported_at_once_with_its_key(tmp_path: Path) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "settings.yaml").write_text("gateway_worker: 2\n")
    environment = {
        "THUMBWHEEL_HOME": str(home),
        "THUMBWHEEL_API_PORT": "http",
        "THUMBWHEEL_TRAIN_THREADS": "0",
        "THUMBWHEEL_RESTART_PAUSE_S": "-1",
        "THUMBWHEEL_UPSTREAM": "localhost:8000",
        "THUMBWHEEL_ENGINE_WAIT_S": "soon",
    }
    with pytest.raises(SettingsError) as caught:
        read_settings({"admin_port": 70000}, environment, tmp_path)
    found = {key for key, _, _ in caught.value.problems}
    assert found == {
        "settings.yaml: gateway_worker",
        "api_port",
        "train_threads",
        "restart_pause_s",
        "upstream",
        "engine_wait_s",
        "admin_port",
    }


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "just words", "a: 2026-13-45", f"a: {'9' * 5000}", "[" * 5000])
def test_a_file_that_is_no_mapping_is_a_problem_and_no_traceback(tmp_path: Path, text: str) -> None:
    home = tmp_path / "h"
    home.mkdir()
    (home / "settings.yaml").write_text(text)
    with pytest.raises(SettingsError):
        read_settings({"home": str(home)}, {}, tmp_path)


@pytest.mark.parametrize(
    "text", ["[https://a.example, 'http://127.0.0.1:3000']", "https://a.example,http://127.0.0.1:3000"]
)
def test_origins_are_a_list_in_the_file_and_commas_in_the_environment(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.yaml").write_text(f"cors_origins: {text}\n")
    settings = read_settings({"home": str(tmp_path)}, {}, tmp_path)
    assert settings.cors_origins == ("https://a.example", "http://127.0.0.1:3000")
    assert read_settings({"home": str(tmp_path)}, {"THUMBWHEEL_CORS_ORIGINS": ""}, tmp_path).cors_origins == ()


def test_every_wrong_origin_is_reported_beside_the_other_problems(tmp_path: Path) -> None:
    wrong = ["*", "https://a.example/", "a.example", "HTTPS://A.example", "null", "https://a.example:port"]
    environment = {"THUMBWHEEL_CORS_ORIGINS": ", ".join([*wrong, "https://right.example"]), "THUMBWHEEL_API_PORT": "0"}
    with pytest.raises(SettingsError) as caught:
        read_settings({"home": str(tmp_path)}, environment, tmp_path)
    found = [held for key, held, _ in caught.value.problems if key == "cors_origins"]
    assert found == [f"holds {origin!r}" for origin in wrong]
    assert "api_port" in {key for key, _, _ in caught.value.problems}


def test_the_same_port_twice_is_a_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="two ports"):
        read_settings({"api_port": 9000, "admin_port": 9000}, {}, tmp_path)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('host: ""', "host"),
        ("model: [a, b]", "model"),
        ("recipe: true", "recipe"),
        ('host: "a\\0b"', "host"),
        ("engine_wait_s: .nan", "engine_wait_s"),
        ("engine_timeout_s: .inf", "engine_timeout_s"),
        (f"engine_timeout_s: {10**400}", "engine_timeout_s"),
        ("engine_wait_s: true", "engine_wait_s"),
        ("cors_origins: true", "cors_origins"),
        ("cors_origins: [1, 2]", "cors_origins"),
        ('upstream: "http://[::1"', "upstream"),
        ("upstream: http://host:port/v1", "upstream"),
        ("upstream: http://host:70000", "upstream"),
        ("upstream: http:///v1", "upstream"),
        ("upstream_key: schlüssel", "upstream_key"),
        ("teacher: unix:/tmp/teacher", "teacher"),
        ("teacher: api.example", "teacher"),
        ("teacher_key: schlüssel", "teacher_key"),
        ("teacher_timeout_s: 0", "teacher_timeout_s"),
        ("{embeddings: api.example, embeddings_model: m}", "embeddings"),
        ("embeddings: http://127.0.0.1:8000/v1", "embeddings_model"),
        ("embeddings_key: schlüssel", "embeddings_key"),
        ("embeddings_timeout_s: 0", "embeddings_timeout_s"),
        ('upstream_key: "a\\nb"', "upstream_key"),
        ("kafka_security: TLS", "kafka_security"),
        ("kafka_mechanism: GSSAPI", "kafka_mechanism"),
        ("{kafka_security: SASL_SSL, kafka_username: me}", "kafka_password"),
        ("{kafka_security: SASL_SSL, kafka_password: geheim}", "kafka_username"),
        ("kafka_username: me", "kafka_username"),
        ("{kafka_security: SSL, kafka_password: geheim}", "kafka_password"),
        ("kafka_ca_file: ca.pem", "kafka_ca_file"),
        (
            "{kafka_security: SASL_PLAINTEXT, kafka_username: me, kafka_password: x, kafka_cert_file: a}",
            "kafka_cert_file",
        ),
        ("{kafka_security: SSL, kafka_key_file: key.pem}", "kafka_cert_file"),
    ],
)
def test_a_value_that_means_nothing_is_a_problem(tmp_path: Path, line: str, key: str) -> None:
    (tmp_path / "settings.yaml").write_text(line + "\n")
    with pytest.raises(SettingsError) as caught:
        read_settings({"home": str(tmp_path)}, {}, tmp_path)
    assert [problem[0] for problem in caught.value.problems] == [key]


def test_an_upstream_is_a_url_or_a_socket_and_its_key_is_in_no_message(tmp_path: Path) -> None:
    for upstream in ("http://127.0.0.1:8000", "https://[::1]:8000/v1", "unix:/run/server.sock"):
        assert read_settings({"upstream": upstream, "upstream_key": "sk-1"}, {}, tmp_path).upstream == upstream
    for key in ("upstream_key", "teacher_key", "embeddings_key"):
        with pytest.raises(SettingsError) as caught:
            read_settings({key: "geheim\u00df"}, {}, tmp_path)
        assert "geheim" not in str(caught.value)


def test_a_secret_is_in_no_message_and_in_no_repr(tmp_path: Path) -> None:
    login = {"kafka_security": "SASL_SSL", "kafka_username": "me"}
    found = read_settings({**login, "kafka_password": "geheim"}, {}, tmp_path)
    assert found.kafka_password == "geheim" and "geheim" not in repr(found)
    assert read_settings(login, {"THUMBWHEEL_KAFKA_PASSWORD": "geheim"}, tmp_path) == found
    for key in ("upstream_key", "teacher_key", "embeddings_key", "kafka_password"):
        with pytest.raises(SettingsError) as caught:
            read_settings({key: ["geheim"]}, {}, tmp_path)
        assert "geheim" not in str(caught.value)


def test_a_key_with_nothing_after_it_keeps_its_default(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("host:\napi_port:\n")
    settings = read_settings({"home": str(tmp_path)}, {}, tmp_path)
    assert (settings.host, settings.api_port) == ("127.0.0.1", None)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        read_settings({"home": str(tmp_path)}, {}, tmp_path)
    (tmp_path / "settings.yaml").unlink()
    (tmp_path / "settings.yaml").mkdir()
    with pytest.raises(SettingsError, match=r"settings\.yaml"):
        read_settings({"home": str(tmp_path)}, {}, tmp_path)


def test_a_home_that_links_lead_round_to_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(tmp_path / "one")
    with pytest.raises(SettingsError, match="home: holds"):
        read_settings({"home": str(tmp_path / "one" / "home")}, {}, tmp_path)


@pytest.mark.parametrize("kafka", ["127.0.0.1:9092", "a.example:9092, b.example:9093", "[::1]:9092"])
def test_brokers_are_named_by_host_and_port(tmp_path: Path, kafka: str) -> None:
    settings = read_settings({}, {"THUMBWHEEL_KAFKA": kafka}, tmp_path)
    assert settings.kafka == kafka and all(":" in server and " " not in server for server in kafka_servers(kafka))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kafka", "a.example"),
        ("kafka", "a.example:9092,"),
        ("kafka", "http://a.example:9092"),
        ("kafka_prefix", "house/"),
        ("kafka_group", "a b"),
        ("kafka_instance", "ä"),
        ("kafka_instance", "x" * 201),
        ("kafka_partitions", "0"),
        ("dead_letter_channels", "support,a b"),
    ],
)
def test_what_no_broker_takes_is_a_problem(tmp_path: Path, key: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {f"THUMBWHEEL_{key.upper()}": value}, tmp_path)
    assert [problem[0] for problem in caught.value.problems] == [key]


@pytest.mark.parametrize("url", ["postgresql://thumb:very-secret@db:5432/thumbs", "postgres:///thumbs?host=/run/pg"])
def test_a_store_may_be_postgresql(tmp_path, url):
    assert read_settings({}, {"THUMBWHEEL_STORE_URL": url}, tmp_path).store_url == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:very-secret@db/t",
        "postgresql://u:very-secret@db",
        "very-secret",
        "postgresql://u:very-secret@db:port/t",
    ],
)
def test_a_store_that_is_none_is_told_without_its_password(tmp_path, url):
    with pytest.raises(SettingsError) as caught:
        read_settings({}, {"THUMBWHEEL_STORE_URL": url}, tmp_path)
    (problem,) = caught.value.problems
    assert problem[0] == "store_url" and "very-secret" not in str(caught.value)


def test_how_long_a_topic_is_kept(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("keep_records: [feedback=90, curation=forever]\n")
    settings = read_settings({"home": str(tmp_path)}, {}, tmp_path)
    assert kept_s(settings) == {"feedback": 90.0, "curation": None} and kept_s(Settings(home=tmp_path)) == {}


@pytest.mark.parametrize("text", ["feedback", "feedback=0", "feedback=-1", "feedback=1.5", "chat=90", "feedback=ever"])
def test_how_long_nothing_is_kept_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_settings({"home": str(tmp_path)}, {"THUMBWHEEL_KEEP_RECORDS": text}, tmp_path)
    assert [key for key, _, _ in caught.value.problems] == ["keep_records"]


def test_the_models_that_find_names_are_by_language(tmp_path: Path) -> None:
    settings = read_settings(
        {"home": str(tmp_path)}, {"THUMBWHEEL_NAME_MODELS": "en=en_core_web_sm,zh=zh_core_web_sm"}, tmp_path
    )
    assert models_of_names(settings) == {"en": "en_core_web_sm", "zh": "zh_core_web_sm"}
