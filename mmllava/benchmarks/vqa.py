"""Short answers that ten people gave too: VQAv2, OK-VQA, VizWiz, TextVQA; and GQA."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks.files import (
    ID,
    below,
    matching,
    once,
    read_json,
    records,
    take,
    texts,
    unique,
)
from mmllava.benchmarks.scores import by_group, per_sample, percent
from mmllava.benchmarks.types import Answers, Benchmark, Item, Scores
from mmllava.errors import DataError
from mmllava.metrics.vqa import agreement, gqa_answer, normalise, normalise_vqa, vqa_truths


def read_vqav2(
    questions: Path,
    images: Path,
    annotations: Path | None = None,
    all_questions: Path | None = None,
    *,
    image_name: str = 'COCO_val2014_{:012d}.jpg',
) -> list[Item]:
    """VQAv2 and OK-VQA, in VQA's two files.

    Args:
        questions: ``v2_OpenEnded_mscoco_val2014_questions.json`` and the like.
        images: COCO's pictures.
        annotations: ``v2_mscoco_val2014_annotations.json``; a test split has none.
        all_questions: of the whole test set; those beyond ``questions`` are not asked, but
            the server wants a line for each.
        image_name: a picture's file, from its number.
    """
    known = dict(_annotations(annotations)) if annotations else None
    items = []
    for where, row in records(questions, read_json(questions, dict), 'questions'):
        id_, image_id, question = take(row, where, question_id=int, image_id=int, question=str)
        own, groups = None, {}
        if known is not None:
            place, image, own, groups = matching(
                known, id_, where, annotations or '', 'question_id'
            )
            if image != image_id:
                raise _wrong_image(where, image_id, place, image)
        picture = below(images, image_name.format(image_id), where)
        item = Item(id_, dict(question=question), picture, image_id, own, groups)
        items.append((where, item))
    found = unique(items, 'question_id')
    if known is not None and len(known) > len(found):
        extra = next(k for k in known if k not in {item.id for item in found})
        raise _without_question(known[extra][0], extra, questions)
    return found + (_unasked(all_questions, found) if all_questions else [])


def _annotations(path: Path) -> Iterator[tuple[int, tuple[str, int, list[str], dict[str, str]]]]:
    rows = records(path, read_json(path, dict), 'annotations')
    once((where, take(row, where, question_id=int)[0]) for where, row in rows)
    for where, row in rows:
        id_, image_id, answers = take(row, where, question_id=int, image_id=int, answers=list)
        said = [take(a, f'{where} answers[{n}]', answer=str)[0] for n, a in enumerate(answers)]
        texts(said, where, 'answers')
        kind = row.get('answer_type')
        yield id_, (where, image_id, said, dict(answer_type=kind) if isinstance(kind, str) else {})


def _unasked(path: Path, asked: Sequence[Item]) -> list[Item]:
    ids = {item.id for item in asked}
    rows = records(path, read_json(path, dict), 'questions')
    placed = [(where, take(row, where, question_id=int)[0]) for where, row in rows]
    once(placed)
    found = [id_ for _, id_ in placed]
    missing = ids - set(found)
    if missing:
        raise _without_question(f'{len(missing)} of the questions', min(missing), path)
    return [Item(id_, asked=False) for id_ in found if id_ not in ids]


def read_vizwiz(annotations: Path, images: Path) -> list[Item]:
    """VizWiz: ``val.json`` or ``test.json``; no question is left out, unanswerable ones count."""
    items = []
    for number, row in enumerate(read_json(annotations, list)):
        where = f'{annotations}[{number}]'
        image, question = take(row, where, image=str, question=str)
        own, groups = None, {}
        if 'answers' in row:
            (answers,) = take(row, where, answers=list)
            own = [take(a, f'{where} answers[{n}]', answer=str)[0] for n, a in enumerate(answers)]
            texts(own, where, 'answers')
            groups = dict(answer_type=take(row, where, answer_type=str)[0])
        picture = below(images, image, where)
        items.append((where, Item(image, dict(question=question), picture, image, own, groups)))
    return unique(items, 'image')


def read_textvqa(annotations: Path, images: Path, ocr: Path | None = None) -> list[Item]:
    """TextVQA 0.5.1.

    Args:
        annotations: ``TextVQA_0.5.1_val.json``.
        images: ``train_images``, where val's pictures are too.
        ocr: ``TextVQA_Rosetta_OCR_v0.2_val.json``, whose words a preset may show.
    """
    words = dict(_ocr(ocr)) if ocr else {}
    items = []
    for where, row in records(annotations, read_json(annotations, dict), 'data'):
        id_, image_id, question = take(row, where, question_id=ID, image_id=str, question=str)
        own = texts(row['answers'], where, 'answers') if row.get('answers') else None
        fields = dict(question=question)
        if ocr:
            fields['ocr'] = ', '.join(matching(words, image_id, where, ocr, 'image_id'))
        picture = below(images, f'{image_id}.jpg', where)
        items.append((where, Item(id_, fields, picture, image_id, own)))
    return unique(items, 'question_id')


def _ocr(path: Path) -> Iterator[tuple[str, list[str]]]:
    for where, row in records(path, read_json(path, dict), 'data'):
        image_id, words = take(row, where, image_id=str, ocr_tokens=list)
        yield image_id, texts(words, where, 'ocr_tokens') if words else []


def read_gqa(questions: Path, images: Path) -> list[Item]:
    """GQA: ``testdev_balanced_questions.json`` and the like."""
    items = []
    for id_, row in read_json(questions, dict).items():
        where = f'{questions}: {id_}'
        image_id, question = take(row, where, imageId=str, question=str)
        truth = take(row, where, answer=str)[0] if 'answer' in row else None
        groups = {}
        if row.get('types') is not None:
            (types,) = take(row, where, types=dict)
            kind = types.get('structural')
            groups = dict(kind='open' if kind == 'query' else 'binary') if kind else {}
        picture = below(images, f'{image_id}.jpg', where)
        record = dict(balanced=row.get('isBalanced', True))
        items.append(
            Item(id_, dict(question=question), picture, image_id, truth, groups, record=record)
        )
    return items


def _accuracy(
    write: Callable[[str], str], people: Callable[[Sequence[str]], Sequence[str]]
) -> Callable[[Sequence[Item], Answers], Scores]:
    def score(items: Sequence[Item], answers: Answers) -> Scores:
        """VQA accuracy in percent: all, and by type of answer; a missing answer is wrong."""
        values = []
        for item, answer in zip(items, answers, strict=True):
            said = Counter(people(item.truth))
            matches = 0 if answer is None else said[write(answer)]
            values.append(agreement(matches, len(item.truth)))
        return {'accuracy': percent(values), **by_group(items, values)}

    return score


def _normalised(truths: Sequence[str]) -> list[str]:
    return list(map(normalise, truths))


score_vqav2 = _accuracy(normalise_vqa, vqa_truths)  # as VQA's own evaluation
score_vqa = _accuracy(normalise, _normalised)  # as LLaVA's evaluator


def score_gqa(items: Sequence[Item], answers: Answers) -> Scores:
    """Share of answers that are right letter by letter, in percent: all, binary, open.

    Of a file with all questions only the balanced ones count, as in GQA's ``eval.py``.
    """
    pairs = list(zip(items, answers, strict=True))
    pairs = [pair for pair in pairs if pair[0].record.get('balanced', True)] or pairs
    values = [float(a is not None and gqa_answer(a) == item.truth) for item, a in pairs]
    return {'accuracy': percent(values), **by_group([item for item, _ in pairs], values)}


def submit_vqav2(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """The list that VQA's server takes, answers normalised as LLaVA does; none is empty text."""
    rows = [
        dict(question_id=item.id, answer='' if answer is None else normalise(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return {'vqa_submission.json': rows}


def submit_vizwiz(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """The list that VizWiz's server takes."""
    rows = [
        dict(image=item.id, answer='' if answer is None else normalise(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return {'vizwiz_submission.json': rows}


def submit_gqa(items: Sequence[Item], answers: Answers) -> dict[str, Any]:
    """The predictions that GQA's ``eval.py`` reads."""
    rows = [
        dict(questionId=item.id, prediction='' if answer is None else gqa_answer(answer))
        for item, answer in zip(items, answers, strict=True)
    ]
    return {'testdev_balanced_predictions.json': rows}


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
