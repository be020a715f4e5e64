"""Short-answer benchmarks: VQAv2, OK-VQA, VizWiz, TextVQA with ten references each; GQA."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import (
    ID,
    check_strings,
    check_unique_ids,
    get_fields,
    look_up,
    read_json,
    records,
    unique_items,
)
from mmllava.benchmarks.scores import by_group, per_sample, percent
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError
from mmllava.io import resolve_below
from mmllava.metrics.vqa import (
    accuracy_of_matches,
    gqa_answer,
    normalise,
    normalise_vqa,
    vqa_truths,
)


def read_vqav2(
    questions: Path,
    images: Path,
    annotations: Path | None = None,
    all_questions: Path | None = None,
    *,
    image_name: str = 'COCO_val2014_{:012d}.jpg',
) -> list[Item]:
    """Reads VQAv2 and OK-VQA, in VQA's two files.

    Args:
        questions: ``v2_OpenEnded_mscoco_val2014_questions.json`` and the like.
        images: folder of COCO's images.
        annotations: ``v2_mscoco_val2014_annotations.json``; a test split has none.
        all_questions: the whole test set; what is not in ``questions`` is not asked, but the
            server expects a line for each.
        image_name: format of an image's file name, from its id.
    """
    annotated = dict(_read_annotations(annotations)) if annotations else None
    items = []
    for where, record in records(questions, read_json(questions, dict), 'questions'):
        id_, image_id, question = get_fields(
            record, where, question_id=int, image_id=int, question=str
        )
        truth, groups = None, {}
        if annotated is not None:
            place, image, truth, groups = look_up(
                annotated, id_, where, annotations or '', 'question_id'
            )
            if image != image_id:
                raise _wrong_image(where, image_id, place, image)
        path = resolve_below(images, image_name.format(image_id), where)
        item = Item(id_, dict(question=question), path, image_id, truth, groups)
        items.append((where, item))
    items = unique_items(items, 'question_id')
    if annotated is not None and len(annotated) > len(items):
        extra = next(k for k in annotated if k not in {item.id for item in items})
        raise _without_question(annotated[extra][0], extra, questions)
    return items + (_read_unasked(all_questions, items) if all_questions else [])


def _read_annotations(
    path: Path,
) -> Iterator[tuple[int, tuple[str, int, list[str], dict[str, str]]]]:
    listed = records(path, read_json(path, dict), 'annotations')
    check_unique_ids(
        (where, get_fields(record, where, question_id=int)[0]) for where, record in listed
    )
    for where, record in listed:
        id_, image_id, answers = get_fields(
            record, where, question_id=int, image_id=int, answers=list
        )
        given = [
            get_fields(a, f'{where} answers[{n}]', answer=str)[0] for n, a in enumerate(answers)
        ]
        check_strings(given, where, 'answers')
        kind = record.get('answer_type')
        yield id_, (where, image_id, given, dict(answer_type=kind) if isinstance(kind, str) else {})


def _read_unasked(path: Path, asked: Sequence[Item]) -> list[Item]:
    ids = {item.id for item in asked}
    listed = records(path, read_json(path, dict), 'questions')
    placed = [(where, get_fields(record, where, question_id=int)[0]) for where, record in listed]
    check_unique_ids(placed)
    all_ids = [id_ for _, id_ in placed]
    missing = ids - set(all_ids)
    if missing:
        raise _without_question(f'{len(missing)} of the questions', min(missing), path)
    return [Item(id_, asked=False) for id_ in all_ids if id_ not in ids]


def read_vizwiz(annotations: Path, images: Path) -> list[Item]:
    """Reads VizWiz, ``val.json`` or ``test.json``; unanswerable questions count too."""
    items = []
    for number, record in enumerate(read_json(annotations, list)):
        where = f'{annotations}[{number}]'
        image, question = get_fields(record, where, image=str, question=str)
        truth, groups = None, {}
        if 'answers' in record:
            (answers,) = get_fields(record, where, answers=list)
            truth = [
                get_fields(a, f'{where} answers[{n}]', answer=str)[0] for n, a in enumerate(answers)
            ]
            check_strings(truth, where, 'answers')
            groups = dict(answer_type=get_fields(record, where, answer_type=str)[0])
        path = resolve_below(images, image, where)
        items.append((where, Item(image, dict(question=question), path, image, truth, groups)))
    return unique_items(items, 'image')


def read_textvqa(annotations: Path, images: Path, ocr: Path | None = None) -> list[Item]:
    """Reads TextVQA 0.5.1.

    Args:
        annotations: ``TextVQA_0.5.1_val.json``.
        images: ``train_images``, which has val's images too.
        ocr: ``TextVQA_Rosetta_OCR_v0.2_val.json``, whose tokens a preset may add to the prompt.
    """
    tokens = dict(_read_ocr(ocr)) if ocr else {}
    items = []
    for where, record in records(annotations, read_json(annotations, dict), 'data'):
        id_, image_id, question = get_fields(
            record, where, question_id=ID, image_id=str, question=str
        )
        truth = (
            check_strings(record['answers'], where, 'answers') if record.get('answers') else None
        )
        fields = dict(question=question)
        if ocr:
            fields['ocr'] = ', '.join(look_up(tokens, image_id, where, ocr, 'image_id'))
        path = resolve_below(images, f'{image_id}.jpg', where)
        items.append((where, Item(id_, fields, path, image_id, truth)))
    return unique_items(items, 'question_id')


def _read_ocr(path: Path) -> Iterator[tuple[str, list[str]]]:
    for where, record in records(path, read_json(path, dict), 'data'):
        image_id, tokens = get_fields(record, where, image_id=str, ocr_tokens=list)
        yield image_id, check_strings(tokens, where, 'ocr_tokens') if tokens else []


def read_gqa(questions: Path, images: Path) -> list[Item]:
    """Reads GQA, ``testdev_balanced_questions.json`` and the like."""
    items = []
    for id_, record in read_json(questions, dict).items():
        where = f'{questions}: {id_}'
        image_id, question = get_fields(record, where, imageId=str, question=str)
        truth = get_fields(record, where, answer=str)[0] if 'answer' in record else None
        groups = {}
        if record.get('types') is not None:
            (types,) = get_fields(record, where, types=dict)
            kind = types.get('structural')
            groups = dict(kind='open' if kind == 'query' else 'binary') if kind else {}
        path = resolve_below(images, f'{image_id}.jpg', where)
        kept = dict(balanced=record.get('isBalanced', True))
        items.append(Item(id_, dict(question=question), path, image_id, truth, groups, record=kept))
    return items


def _accuracy(
    normalise_answer: Callable[[str], str],
    normalise_truths: Callable[[Sequence[str]], Sequence[str]],
) -> Callable[[Sequence[Item], Answers], Scores]:
    def score(items: Sequence[Item], answers: Answers) -> Scores:
        """Computes VQA accuracy in percent: all, by type of answer; a missing answer is wrong."""
        values = []
        for item, answer in zip(items, answers, strict=True):
            counts = Counter(normalise_truths(item.truth))
            matches = 0 if answer is None else counts[normalise_answer(answer)]
            values.append(accuracy_of_matches(matches, len(item.truth)))
        return {'accuracy': percent(values), **by_group(items, values)}

    return score


def _normalised(truths: Sequence[str]) -> list[str]:
    return list(map(normalise, truths))


score_vqav2 = _accuracy(normalise_vqa, vqa_truths)  # of VQA's own evaluation
score_vqa = _accuracy(normalise, _normalised)  # of LLaVA's evaluator


def score_gqa(items: Sequence[Item], answers: Answers) -> Scores:
    """Computes the percentage of exact matches: all, binary, open.

    In a file with all questions only the balanced ones count, as in GQA's ``eval.py``.
    """
    pairs = list(zip(items, answers, strict=True))
    pairs = [pair for pair in pairs if pair[0].record.get('balanced', True)] or pairs
    values = [float(a is not None and gqa_answer(a) == item.truth) for item, a in pairs]
    return {'accuracy': percent(values), **by_group([item for item, _ in pairs], values)}


def submit_vqav2(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the list that VQA's server takes, normalised as by LLaVA; a missing answer is ''."""
    predictions = [
        dict(question_id=item.id, answer='' if answer is None else normalise(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return {'vqa_submission.json': predictions}


def submit_vizwiz(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the list that VizWiz's server takes."""
    predictions = [
        dict(image=item.id, answer='' if answer is None else normalise(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return {'vizwiz_submission.json': predictions}


def submit_gqa(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """Writes the predictions that GQA's ``eval.py`` reads."""
    predictions = [
        dict(questionId=item.id, prediction='' if answer is None else gqa_answer(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return {'testdev_balanced_predictions.json': predictions}


def _wrong_image(where: str, image_id: int, place: str, other: int) -> DataError:
    return DataError(
        f'{where} asks about image {image_id}, but {place} answers it about image {other}. Do '
        'the two files belong to the same split?'
    )


def _without_question(where: str, id_: int, path: Path) -> DataError:
    return DataError(
        f'{where} has the question_id {id_}, which is not in {path}. Do the two files belong to '
        'the same split?'
    )


BENCHMARKS = {
    'vqav2': Benchmark(
        'VQAv2', read_vqav2, score_vqav2, submit_vqav2, per_sample=per_sample(score_vqav2)
    ),
    'okvqa': Benchmark(
        'OK-VQA', read_vqav2, score_vqa, submit_vqav2, per_sample=per_sample(score_vqa)
    ),
    'gqa': Benchmark('GQA', read_gqa, score_gqa, submit_gqa, per_sample=per_sample(score_gqa)),
    'vizwiz': Benchmark(
        'VizWiz', read_vizwiz, score_vqa, submit_vizwiz, per_sample=per_sample(score_vqa)
    ),
    'textvqa': Benchmark(
        'TextVQA', read_textvqa, score_vqa, submit_vqav2, per_sample=per_sample(score_vqa)
    ),
}
