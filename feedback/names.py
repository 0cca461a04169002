"""Which words of a row are people's names, as presidio says with a spaCy model that the settings name.

Names have no form that a rule could know, so a model finds them. That happens before curation, which stays a pure
function: what was found is an event on the topic `curation`, with model and version, and where it is there for a row's
texts nothing is computed again. The event says where in the texts a name stands and holds no name itself, so erasing
the texts erases it too. It needs the extra (`pip install 'thumbwheel[names]'`) and each model as a package; nothing is
ever fetched here. presidio is imported when it is asked for and not before.

A text's language is told by its script alone: Chinese characters make it `zh`, anything else is `en`. Where no model of
its language is named, no names are found in it. What the models miss, stays.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import msgspec

from feedback.clean import clean
from feedback.join import Joined, texts
from thumbwheel.errors import JobError
from thumbwheel.events import ComputedEvent
from thumbwheel.ids import digest32

WHAT = "names"

Span = tuple[int, int, int]
"""Which of a row's texts, and from and to which character of it."""


@dataclass(frozen=True)
class By:
    """What finds names: the models, and their versions in the same order."""

    model: str
    version: str


@dataclass(frozen=True)
class NameFinder:
    """`find` gives from and to which character of a text each name stands."""

    by: By
    find: Callable[[str], Iterable[tuple[int, int]]]


_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_SHARE = 0.1  # of a text's characters that make it Chinese
LEAST_SCORE = 0.5  # presidio's, of 0 to 1


def finder(models: Mapping[str, str]) -> NameFinder:
    """What finds names with these models, by language. Raises JobError where the extra or a model is not installed."""
    for package in ("presidio_analyzer", *models.values()):
        if importlib.util.find_spec(package) is None:
            raise JobError(
                f"`name_models` asks for names, and {package} is not installed: pip install 'thumbwheel[names]', and "
                "each model that the setting names as a package of its own."
            )
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpEngineProvider
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    languages = sorted(models)
    named = [{"lang_code": language, "model_name": models[language]} for language in languages]
    engine = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": named}).create_engine()
    registry = RecognizerRegistry(
        recognizers=[SpacyRecognizer(supported_language=language) for language in languages],
        supported_languages=languages,
    )
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=languages)
    packages = ["presidio_analyzer", *(models[language] for language in languages)]

    def find(text: str) -> list[tuple[int, int]]:
        language = language_of(text)
        if language not in models:
            return []
        found = analyzer.analyze(text, language=language, entities=["PERSON"], score_threshold=LEAST_SCORE)
        return [(one.start, one.end) for one in found]

    return NameFinder(By(", ".join(packages), ", ".join(map(_version, packages))), find)


def language_of(text: str) -> str:
    """`zh` or `en`."""
    return "zh" if len(_HAN.findall(text)) > _HAN_SHARE * len(text) else "en"


# what is recorded


def wanted(row: Joined) -> bool:
    """Whether names have to be looked for: only in what might be learnt from."""
    return row.messages is not None and row.barred is None and (row.correction is not None or row.thumb is not None)


def event_id(row: Joined, by: By, others: Sequence[str] = ()) -> str:
    """The id of the event that says which names are in the row's texts: another one for other texts or models.

    `others` are further texts about it: what reviewers and models would have it answer.
    """
    parts = (WHAT, row.feedback, by.model, by.version, *_texts(row, others))
    return f"computed-{digest32(msgspec.json.encode(parts), 26)}"


def compute(row: Joined, finder: NameFinder, channel: str, at_ms: int, others: Sequence[str] = ()) -> ComputedEvent:
    """Which names are in the row's texts."""
    spans = {(place, start, end) for place, text in enumerate(_texts(row, others)) for start, end in finder.find(text)}
    return ComputedEvent(
        id=event_id(row, finder.by, others),
        feedback=row.feedback,
        channel=channel,
        at_ms=at_ms,
        what=WHAT,
        model=finder.by.model,
        version=finder.by.version,
        value=sorted(spans),
    )


def names_in(row: Joined, event: ComputedEvent, others: Sequence[str] = ()) -> tuple[str, ...]:
    """The names that the event found in the row's texts."""
    said = _texts(row, others)
    spans = msgspec.convert(event.value, list[Span])
    return tuple(sorted({said[place][start:end].strip() for place, start, end in spans} - {""}))


def _texts(row: Joined, others: Sequence[str]) -> list[str]:
    whole = [*texts(row.messages or ()), row.correction or "", row.answer or "", *others]
    return [clean(text) for text in whole if text]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
