"""What the rules against personal data find and what they touch by mistake, beside presidio where it is installed.

    python -m bench.redact [--rows 300] [--clean 4000] [--seed 7] [--out figures.json]          (make bench-redact)

Two generators make the rows, Chinese and English: `personal_data`, written before the rules, to which they were then
fitted, and `personal_data_held_out`, written after that and apart. Of each:

recall    the share of planted values of which no letter or digit stays in the prompt, by language and kind
answers   the share of planted rows whose answer is neither refused nor still holds the value
touched   the share of clean rows in which anything is found

each with Wilson's 95% interval. The exit status is 1 where recall is under 95%, or over 1% of the clean rows of a
generator are touched. presidio (`pip install presidio-analyzer`) is asked for the same, with all of its own recognisers
of such data in both languages and without a model; what it says of persons, places, dates, links and IP addresses is
left out, as the rules leave them too.

It knows nothing of names, and nothing of texts that no generator makes.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import personal_data, personal_data_held_out
from bench.planting import Planted
from retrain.statistics import Interval, wilson
from thumbwheel.redact import find, redact

LEAST_RECALL, MOST_TOUCHED, CONFIDENCE = 0.95, 0.01, 0.975
GENERATORS = {"fitted": personal_data.ROWS, "held out": personal_data_held_out.ROWS}
NOT_ASKED = frozenset({"PERSON", "LOCATION", "DATE_TIME", "NRP", "URL", "IP_ADDRESS", "ORGANIZATION", "AGE", "ID"})

Find = Callable[[str, str], Iterable[tuple[int, int]]]
"""From a text and its language to the places that would be masked."""


@dataclass(frozen=True)
class Figures:
    """What one finder did with one generator's rows; shares with their intervals, `seconds` for all rows."""

    finder: str
    generator: str
    recall: Interval
    by_kind: dict[str, Interval]
    touched: Interval
    touched_by_language: dict[str, Interval]
    seconds: float
    missed: tuple[str, ...]
    wrong: tuple[str, ...]


def rules(text: str, language: str) -> list[tuple[int, int]]:
    """Our rules, which are the same in every language."""
    return [(one.start, one.end) for one in find(text)]


def presidio() -> Find:
    """presidio's recognisers of forms, without a model."""
    import spacy
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    languages = ["en", "zh"]
    engine = SpacyNlpEngine(models=[], ner_model_configuration=NerModelConfiguration())
    engine.nlp = {language: spacy.blank(language) for language in languages}
    registry = RecognizerRegistry(supported_languages=languages)
    registry.load_predefined_recognizers(languages=languages, nlp_engine=engine)
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=languages)
    asked = {one: sorted(set(analyzer.get_supported_entities(one)) - NOT_ASKED) for one in languages}

    def find_in(text: str, language: str) -> list[tuple[int, int]]:
        found = analyzer.analyze(text, language=language, entities=asked[language])
        return [(one.start, one.end) for one in found]

    return find_in


def is_found(row: Planted, places: Iterable[tuple[int, int]]) -> bool:
    """Whether no letter or digit of the planted value stays."""
    value = row.value or ""
    start = row.prompt.index(value)
    masked = {at for low, high in places for at in range(low, high)}
    return all(at in masked for at in range(start, start + len(value)) if row.prompt[at].isalnum())


def is_answered(row: Planted) -> bool:
    """Whether the answer stays, and without the planted value."""
    made = redact([("user", row.prompt)], row.target)
    return made.reason is None and (row.value or "") not in made.target


def measure(name: str, finder: Find, generator: str, planted: Sequence[Planted], clean: Sequence[Planted]) -> Figures:
    """What `finder` does with these rows."""
    began = time.perf_counter()
    all_of, hits, total, wrong = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    missed, mistakes = [], []
    for row in planted:
        kind = f"{row.language} {row.kind}"
        all_of[kind] += 1
        if is_found(row, finder(row.prompt, row.language)):
            hits[kind] += 1
        else:
            missed.append(f"{kind}: {row.prompt}")
    for row in clean:
        total[row.language] += 1
        if any(True for _ in finder(row.prompt, row.language)):
            wrong[row.language] += 1
            mistakes.append(f"{row.language}: {row.prompt}")
    return Figures(
        finder=name,
        generator=generator,
        recall=wilson(hits.total(), all_of.total(), CONFIDENCE),
        by_kind={kind: wilson(hits[kind], n, CONFIDENCE) for kind, n in all_of.items()},
        touched=wilson(wrong.total(), total.total(), CONFIDENCE),
        touched_by_language={language: wilson(wrong[language], n, CONFIDENCE) for language, n in total.items()},
        seconds=time.perf_counter() - began,
        missed=tuple(missed),
        wrong=tuple(mistakes),
    )


def broken(figures: Figures) -> list[str]:
    """The conditions that our rules do not hold."""
    problems = []
    if figures.recall.mean < LEAST_RECALL:
        problems.append(f"{figures.generator}: recall {figures.recall.mean:.1%} is under {LEAST_RECALL:.0%}")
    if figures.touched.mean > MOST_TOUCHED:
        problems.append(
            f"{figures.generator}: {figures.touched.mean:.1%} of clean rows touched, over {MOST_TOUCHED:.0%}"
        )
    return problems


def share(interval: Interval) -> str:
    """A share with its interval, in percent."""
    return f"{interval.mean:.1%} [{interval.lower:.1%}, {interval.upper:.1%}]"


def report(figures: Sequence[Figures]) -> str:
    """A table: a row a kind, a column a finder and generator."""
    heads = [f"{one.finder}, {one.generator}" for one in figures]
    lines = ["| | " + " | ".join(heads) + " |", "|---|" + "---|" * len(figures)]
    kinds = list(dict.fromkeys(kind for one in figures for kind in one.by_kind))
    cells: list[tuple[str, list[str]]] = [
        ("recall", [share(one.recall) for one in figures]),
        *((kind, [share(one.by_kind[kind]) if kind in one.by_kind else "" for one in figures]) for kind in kinds),
        ("clean rows touched", [share(one.touched) for one in figures]),
        *((f"touched, {x}", [share(one.touched_by_language[x]) for one in figures]) for x in ("zh", "en")),
        ("seconds", [f"{one.seconds:.1f}" for one in figures]),
    ]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(some) + " |" for name, some in cells)])


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; see the module's docstring. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.redact")
    parser.add_argument("--rows", type=int, default=300, help="planted rows of each language and kind")
    parser.add_argument("--clean", type=int, default=4000, help="clean rows of each language")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--examples", type=int, default=0, help="so many of what was missed and wrongly touched are shown"
    )
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    options = parser.parse_args(argv)
    finders: dict[str, Find] = {"rules": rules}
    if importlib.util.find_spec("presidio_analyzer") is None:
        print("presidio is not installed (pip install presidio-analyzer): the rules' own figures alone.")
    else:
        finders["presidio"] = presidio()
    figures, answers = [], {}
    for generator, rows in GENERATORS.items():
        planted = list(rows.planted(options.seed, options.rows))
        clean = list(rows.clean(options.seed, options.clean))
        answers[generator] = wilson(sum(map(is_answered, planted)), len(planted), CONFIDENCE)
        figures += [measure(name, finder, generator, planted, clean) for name, finder in finders.items()]
    print(report(figures))
    for generator, interval in answers.items():
        print(f"answers kept without the value, {generator}: {share(interval)}")
    for one in figures:
        for text in (*one.missed[: options.examples], *one.wrong[: options.examples]):
            print(f"{one.finder}, {one.generator}: {text!r}")
    if options.out is not None:
        told = [{**vars(one), "missed": len(one.missed), "wrong": len(one.wrong)} for one in figures]
        options.out.write_text(json.dumps(told, default=vars, indent=1, ensure_ascii=False))
    problems = [problem for one in figures if one.finder == "rules" for problem in broken(one)]
    print("\n".join(problems or ["All conditions hold."]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
