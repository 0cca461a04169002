"""A spaCy model that has learnt names from a dozen sentences, as a package: what finds names in tests.

    sys.path gets write_package(folder, "zh"), and `name_models` says zh=tiny_names_zh

It is trained where the test runs, in a few seconds on one core, so nothing is fetched. It knows these sentences and a
little more; how well a real model finds names it does not say. Needs spaCy, and is imported where that is installed.
"""

from __future__ import annotations

from pathlib import Path

import spacy
from spacy.language import Language
from spacy.training import Example

ROUNDS = 30
TAUGHT = {
    "en": (
        ("Ann Lee", "Bob Stone", "Carol Reed"),
        ("Please ask {} about it.", "{} knows my order.", "Send it to {} today.", "I spoke with {}."),
        ("Where is my order?", "It is late today.", "Please send it again."),
    ),
    "zh": (
        ("李小安", "石宝山", "林可乐"),
        ("请问{}在吗", "{}说今天发货", "我找{}退货", "麻烦转给{}"),
        ("我的订单在哪里", "今天发货吗", "麻烦退货"),
    ),
}
LOADS = """from pathlib import Path

import spacy


def load(**overrides):
    return spacy.load(Path(__file__).parent / "model", **overrides)
"""


def write_package(folder: Path, language: str, version: str = "1.2.3") -> str:
    """The package's name, once it lies in `folder`."""
    name = f"tiny_names_{language}"
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(LOADS)
    _trained(language).to_disk(folder / name / "model")
    told = folder / f"{name}-{version}.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return name


def _trained(language: str) -> Language:
    people, of_them, of_nobody = TAUGHT[language]
    spacy.util.fix_random_seed(0)
    model = spacy.blank(language)
    model.add_pipe("ner").add_label("PERSON")
    lessons = [_lesson(model, said.format(one), said.index("{}"), one) for said in of_them for one in people]
    lessons += [Example.from_dict(model.make_doc(said), {"entities": []}) for said in of_nobody]
    optimizer = model.initialize(lambda: lessons)
    for _ in range(ROUNDS):
        model.update(lessons, sgd=optimizer)
    return model


def _lesson(model: Language, text: str, at: int, person: str) -> Example:
    return Example.from_dict(model.make_doc(text), {"entities": [(at, at + len(person), "PERSON")]})
