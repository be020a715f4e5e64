"""Writes the small world as files: images, training JSON, COCO captions, VQAv2 questions."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece

from mmllava.prompts.templates import get_template
from projects.llava_tiny.conversations import (
    CAPTION,
    DESCRIBE,
    SHORT,
    align_row,
    imagined_row,
    second_image_row,
    talk_row,
)
from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.patch_supervision import things_of
from projects.llava_tiny.scenes import SIDE, Scene, make_scene
from projects.llava_tiny.sentences import SCORED, Question, ask, captions, describe

#: rows of the tokenizer, and so of the word embedding
VOCABULARY = 640
#: scenes from here on are drawn nowhere: they are imagined
_IMAGINED = 10**6


def write_images(folder: Path, split: str, count: int, color: str | None = None) -> list[Scene]:
    """Draws the first scenes of a split into ``folder/images/SPLIT``; gives them.

    With ``color``, every second one has a thing of that colour.
    """
    (folder / 'images' / split).mkdir(parents=True, exist_ok=True)
    scenes = [make_scene(split, k, color if k % 2 else None) for k in range(count)]
    for number, scene in enumerate(scenes):
        draw_scene(scene).save(folder / 'images' / image_name(split, number))
    return scenes


def image_name(split: str, number: int) -> str:
    """Returns the path of a scene's image below ``images``: twelve digits, as COCO's."""
    return f'{split}/{number:012}.png'


def write_training(folder: Path, scenes: list[Scene], split: str = 'train') -> None:
    """``things.json``, what is where in each scene, ``align.json``, facts, and ``talk.json``.

    Of conversations there are three about each scene; for each second scene one about two
    images, and for each eighth one about none, which describes an imagined image: the words
    for what is held out come there.
    """
    names = [image_name(split, number) for number in range(len(scenes))]
    pairs = list(zip(scenes, names, strict=True))
    _write(
        folder / 'things.json', [dict(image=name, things=things_of(scene)) for scene, name in pairs]
    )
    rng = random.Random('align')
    _write(folder / 'align.json', [align_row(*pair, rng) for pair in pairs])
    rng = random.Random('talk')
    talks = [talk_row(*pair, rng) for pair in pairs for _ in range(3)]
    for _ in range(len(scenes) // 2):
        (one, first), (other, second) = rng.sample(pairs, 2)
        talks.append(second_image_row((one, other), (first, second), rng))
    for number in range(_IMAGINED, _IMAGINED + len(scenes) // 8):
        talks.append(imagined_row(make_scene(rng.choice(('train', 'held-out')), number), rng))
    rng.shuffle(talks)
    _write(folder / 'talk.json', talks)


def write_captions(folder: Path, scenes: list[Scene], split: str) -> None:
    """``SPLIT.json`` for a caption dataset, and ``SPLIT_gt.json`` with five references each."""
    listed, images, notes = [], [], []
    for number, scene in enumerate(scenes):
        name = image_name(split, number)
        texts = captions(scene)
        listed.append(dict(image=name, caption=texts))
        images.append(dict(id=number, file_name=name, width=SIDE, height=SIDE))
        notes += [
            dict(id=5 * number + k, image_id=number, caption=text) for k, text in enumerate(texts)
        ]
    _write(folder / f'{split}.json', listed)
    _write(folder / f'{split}_gt.json', dict(images=images, annotations=notes))


def write_questions(folder: Path, scenes: list[Scene], split: str, count: int) -> None:
    """``SPLIT_questions.json`` and ``SPLIT_answers.json``, as VQAv2's."""
    questions, answers = [], []
    for number, (image, question) in enumerate(scored_questions(scenes, count)):
        ids = dict(image_id=image, question_id=number)
        questions.append(dict(ids, question=question.text))
        said = dict(answer=question.short.lower(), answer_confidence='yes', answer_id=1)
        answers.append(
            dict(
                ids,
                question_type=question.kind,
                answer_type=question.kind,
                multiple_choice_answer=said['answer'],
                answers=[said],
            )
        )
    _write(folder / f'{split}_questions.json', dict(questions=questions))
    _write(folder / f'{split}_answers.json', dict(annotations=answers))


def scored_questions(scenes: list[Scene], count: int) -> Iterator[tuple[int, Question]]:
    """(number of the scene, question): as many of each kind of `SCORED`, yes as often as no."""
    rng = random.Random('questions')
    wanted = {kind: count // len(SCORED) for kind in SCORED}
    no_or_yes = dict(Yes=wanted['yes/no'] // 2, No=wanted['yes/no'] - wanted['yes/no'] // 2)
    while any(wanted.values()):
        image = rng.randrange(len(scenes))
        kind = rng.choice([kind for kind, left in wanted.items() if left])
        question = ask(kind, scenes[image], rng)
        if question is None or (kind == 'yes/no' and not no_or_yes[question.short]):
            continue
        if kind == 'yes/no':
            no_or_yes[question.short] -= 1
        wanted[kind] -= 1
        yield image, question


def write_tokenizer(folder: Path) -> None:
    """Trains LLaMA's kind of tokenizer on what is said in the small world."""
    folder.mkdir(parents=True, exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_sentences(),
        model_prefix=str(folder / 'tokenizer'),
        model_type='bpe',
        vocab_size=VOCABULARY,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name='identity',
        remove_extra_whitespaces=False,
        character_coverage=1.0,
        required_chars=''.join(map(chr, range(33, 127))),
        unk_surface=' \u2047 ',
        num_threads=1,
        minloglevel=2,
    )
    (folder / 'tokenizer.vocab').unlink()
    settings = dict(
        tokenizer_class='LlamaTokenizer',
        add_bos_token=True,
        add_eos_token=False,
        bos_token='<s>',
        eos_token='</s>',
        unk_token='<unk>',
        pad_token='<unk>',
        legacy=True,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    _write(folder / 'tokenizer_config.json', settings, indent=2)


def _sentences() -> Iterator[str]:
    template = get_template('vicuna_v1')
    for _ in range(700):
        yield from (template.system, f'{template.roles[0]}: ', f'{template.roles[1]}: ')
        yield from (CAPTION, DESCRIBE, SHORT.strip())
    for number in range(3000):
        scene, rng = make_scene('train', number), random.Random(number)
        for row in (talk_row(scene, '', rng), second_image_row((scene,) * 2, ('',) * 2, rng)):
            yield from (turn['value'].replace('<image>\n', '') for turn in row['conversations'])
        yield from (captions(scene)[0], describe(scene), align_row(scene, '', rng)['caption'])


def _write(file: Path, value: Any, indent: int | None = None) -> None:
    part = file.with_name(f'{file.name}.part')
    part.write_text(json.dumps(value, indent=indent) + '\n', encoding='utf-8')
    part.replace(file)
