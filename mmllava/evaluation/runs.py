"""Reads a finished run from disk and compares two runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmllava.errors import DataError
from mmllava.io import parse_json

METADATA, SAMPLES = 'run.json', 'samples.jsonl'
ANSWERS = ('pred_caption', 'pred_answer')


@dataclass(frozen=True)
class Run:
    """Holds a run's metadata and its samples by id, in the order of the dataset."""

    folder: Path
    metadata: dict[str, Any]
    samples: dict[Any, dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """Holds the differences between two runs, A and B.

    Args:
        protocol: (field, value in A, value in B) of every setting of protocol and scoring that
            differs.
        environment: the same of machine and versions.
        scores: name -> (A, B), where they differ; None where a run lacks it.
        only: ids in A alone, ids in B alone.
        shared: number of samples in both.
        changed: (id, sample of A, sample of B) where the answers differ.
        moved: name of a per-sample score -> (samples that are higher in B, lower in B).
    """

    protocol: list[tuple[str, Any, Any]]
    environment: list[tuple[str, Any, Any]]
    scores: dict[str, tuple[float | None, float | None]]
    only: tuple[list[Any], list[Any]]
    shared: int
    changed: list[tuple[Any, dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    moved: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """True if protocol, scores and every answer are the same."""
        return not (self.protocol or self.scores or any(self.only) or self.changed)


def read_metadata(folder: str | Path) -> dict[str, Any]:
    """Reads the metadata of a run from its work folder.

    Raises:
        DataError: there is none, or it is damaged.
    """
    file = Path(folder) / METADATA
    if not file.is_file():
        raise DataError(
            f'{folder} has no {METADATA}. Name the work folder of a run of tools/test.py.'
        )
    try:
        metadata = parse_json(file.read_bytes(), file, strict=False)
    except DataError as error:
        raise DataError(f'{file} is not JSON: {error.__cause__}. Score the run again.') from error
    if not isinstance(metadata, dict) or not isinstance(metadata.get('protocol'), dict):
        raise DataError(f"{file} has no protocol; expected a run's metadata. Score the run again.")
    return metadata


def read_run(folder: str | Path) -> Run:
    """Reads a run that has been scored.

    Raises:
        DataError: it has no scores yet, or a file of it is damaged.
    """
    folder = Path(folder)
    metadata, file = read_metadata(folder), folder / SAMPLES
    if not file.is_file() or not isinstance(metadata.get('scores'), dict):
        raise DataError(
            f'the run in {folder} has not ended: it has no scores yet. Run its command again; it '
            'resumes.'
        )
    samples: dict[Any, dict[str, Any]] = {}
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            sample = parse_json(line, file, strict=False)
            key = sample['id']
            duplicate = key in samples
        except (DataError, KeyError, TypeError) as error:
            raise DataError(
                f'line {number} of {file} is not a sample ({error.__cause__ or error}). Run the '
                'command of the run again to write the file anew.'
            ) from error
        if duplicate:
            raise DataError(
                f'line {number} of {file} is a second sample {key!r}, expected one of each id. Run '
                'the command of the run again to write the file anew.'
            )
        samples[key] = sample
    return Run(folder, metadata, samples)


def answer_of(sample: Mapping[str, Any]) -> str | None:
    """Returns the model's answer; None if the sample failed."""
    return next((sample[name] for name in ANSWERS if sample.get(name) is not None), None)


def compare(a: Run, b: Run) -> Comparison:
    """Compares two runs: protocol, scores, and the answer to each sample."""
    fields = [{name: run.metadata.get(name) for name in ('protocol', 'scoring')} for run in (a, b)]
    last = [(run.metadata.get('environments') or [{}])[-1] for run in (a, b)]
    scores = [run.metadata['scores'] for run in (a, b)]
    names = [*scores[0], *(name for name in scores[1] if name not in scores[0])]
    pairs = [(key, a.samples[key], b.samples[key]) for key in a.samples if key in b.samples]
    return Comparison(
        protocol=differences(*fields),
        environment=differences(*last),
        scores={
            name: (scores[0].get(name), scores[1].get(name))
            for name in names
            if scores[0].get(name) != scores[1].get(name)
        },
        only=(
            [key for key in a.samples if key not in b.samples],
            [key for key in b.samples if key not in a.samples],
        ),
        shared=len(pairs),
        changed=[pair for pair in pairs if answer_of(pair[1]) != answer_of(pair[2])],
        moved=_moved(pairs),
    )


def _moved(pairs: Sequence[tuple[Any, Mapping[str, Any], Mapping[str, Any]]]) -> dict:
    """Counts the samples whose score rose and fell: name -> (higher, lower in the second run)."""
    counts: dict[str, list[int]] = {}
    for _, first, second in pairs:
        before, after = first.get('scores') or {}, second.get('scores') or {}
        for name in before:
            if name in after and before[name] != after[name]:
                counts.setdefault(name, [0, 0])[after[name] < before[name]] += 1
    return {name: (higher, lower) for name, (higher, lower) in counts.items()}


def differences(a: Any, b: Any, name: str = '') -> list[tuple[str, Any, Any]]:
    """Lists (dotted name, value in a, value in b) of the leaves in which two trees differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        found = []
        for key in [*a, *(key for key in b if key not in a)]:
            found += differences(a.get(key), b.get(key), f'{name}.{key}' if name else str(key))
        return found
    return [] if a == b else [(name, a, b)]
