"""Which words of a row are people's names, as presidio says with a spaCy model that the settings name.

Names have no form that a rule could know. So they are found by a model, before curation, which stays a pure function:
what was found is part of its snapshot, and the dataset's card names the models. It needs the extra (`pip install
'thumbwheel[names]'`) and each model as a package; nothing is ever fetched here. presidio is imported when it is asked
for and not before.

A text's language is told by its script alone: Chinese characters make it `zh`, anything else is `en`. Where no model of
its language is named, no names are found in it. What the models miss, stays.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from feedback.clean import clean
from feedback.join import Joined, texts
from thumbwheel.errors import JobError

Found = tuple[dict[str, tuple[str, ...]], str]
"""Names by feedback, and by what they were found."""
FindNames = Callable[[Sequence[Joined]], Found]

_HAN = re.compile(r"[\u3400-\u9fff]")
_HAN_SHARE = 0.1  # of a text's characters that make it Chinese
LEAST_SCORE = 0.5  # presidio's, of 0 to 1


def finder(models: Mapping[str, str]) -> FindNames:
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
    by = ", ".join([_versioned("presidio_analyzer"), *(_versioned(models[language]) for language in languages)])

    def names_in(text: str) -> set[str]:
        language = language_of(text)
        if language not in models:
            return set()
        found = analyzer.analyze(text, language=language, entities=["PERSON"], score_threshold=LEAST_SCORE)
        return {text[one.start : one.end].strip() for one in found}

    def find(rows: Sequence[Joined]) -> Found:
        names = {row.feedback: set().union(*map(names_in, _texts(row))) - {""} for row in rows}
        return {feedback: tuple(sorted(some)) for feedback, some in sorted(names.items()) if some}, by

    return find


def language_of(text: str) -> str:
    """`zh` or `en`."""
    return "zh" if len(_HAN.findall(text)) > _HAN_SHARE * len(text) else "en"


def _texts(row: Joined) -> list[str]:
    whole = [*texts(row.messages or ()), row.correction or "", row.answer or ""]
    return [clean(text) for text in whole if text]


def _versioned(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
