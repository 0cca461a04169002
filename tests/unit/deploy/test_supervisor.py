"""What `up` hands to its children."""

from pathlib import Path

from deploy.supervisor import child_environment
from thumbwheel.settings import Settings, read_settings


def test_a_child_reads_the_settings_that_its_parent_had(tmp_path: Path) -> None:
    settings = Settings(tmp_path, cors_origins=("https://a.example", "https://b.example"), gateway_workers=2)
    assert read_settings({}, child_environment(settings, {}), tmp_path) == settings
    assert read_settings({}, child_environment(Settings(tmp_path), {}), tmp_path) == Settings(tmp_path)
