"""What all benchmarks are made of: items, and the description of a set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Id = int | str
Scores = dict[str, float]


@dataclass(frozen=True, slots=True)
class Item:
    """One question, or one picture to caption, and what its annotation says.

    Args:
        id: of the question; of the picture where there is nothing but one.
        fields: the texts that a protocol writes its question with.
        image: path of the picture, its bytes, or None for a question without one.
        image_id: the picture's own name or number, where the set has one.
        truth: what the scorer compares with; None where a server keeps it.
        groups: what the scores are split by: kind of group -> group.
        choices: how many options there are to choose from.
        record: what a submission repeats of the annotation.
        asked: False for one that only the submission file has.
    """

    id: Id
    fields: Mapping[str, str] = field(default_factory=dict)
    image: str | bytes | None = None
    image_id: Id | None = None
    truth: Any = None
    groups: Mapping[str, str] = field(default_factory=dict)
    choices: int = 0
    record: Mapping[str, Any] = field(default_factory=dict)
    asked: bool = True


Answers = Sequence[str | None]  # one for each item; None: there is none


@dataclass(frozen=True)
class Benchmark:
    """A set: how its files are read, its answers scored and sent in.

    Args:
        title: what it is called in papers.
        read: paths by role (positional names), settings (keyword-only names) -> items.
        score: items with truth and their answers -> scores; None: a server or a judge has it.
        submit: items and answers -> file name -> content, as a server or judge takes it:
            a text, rows for .jsonl and tables, anything else as JSON.
        per_sample: items with truth and their answers -> scores of each sample by itself.
        caption: images are described; no question.
        signed: what ``submit`` writes names the model, its third argument.
    """

    title: str
    read: Callable[..., list[Item]]
    score: Callable[[Sequence[Item], Answers], Scores] | None = None
    submit: Callable[..., dict[str, Any]] | None = None
    per_sample: Callable[[Sequence[Item], Answers], list[Scores]] | None = None
    caption: bool = False
    signed: bool = False

    def files(self, items: Sequence[Item], answers: Answers, model_id: str) -> dict[str, Any]:
        """What a server or judge takes, by file name; nothing where there is neither."""
        if self.submit is None:
            return {}
        return self.submit(items, answers, *([model_id] if self.signed else []))
