"""What the packages import is declared in pyproject.toml, and what is declared is locked."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("thumbwheel", "serving", "feedback", "retrain", "compress", "deploy", "demo")


def declared(*extras: str) -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {normal(re.split(r"[=<>\[]", line)[0]) for line in lines}


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def imported() -> set[str]:
    found: set[str] = set()
    for path in (path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - set(PACKAGES)


def test_every_package_that_is_imported_is_declared() -> None:
    made_by = packages_distributions()  # of an extra that is not installed, the distribution is named as the package
    makers = {name: {normal(maker) for maker in made_by.get(name, [name])} for name in imported()}
    missing = [name for name, some in makers.items() if not some & declared("names")]
    assert missing == []


def test_every_package_that_is_declared_is_locked() -> None:
    locks = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "locks").glob("*.lock")))
    locked = {normal(name) for name in re.findall(r"^([A-Za-z0-9_.-]+)==", locks, re.MULTILINE)}
    assert declared() <= locked
