"""Dialogues with known answers: three turns about one image, then two about another."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

from projects.llava_tiny.draw import draw_scene
from projects.llava_tiny.scenes import Scene
from projects.llava_tiny.sentences import SCORED, Question, ask, ask_again


@dataclass(frozen=True)
class Talk:
    """Dialogue of questions about a first image, then about a second one.

    The first question about the second image has been asked about the first one too, and
    has another answer now.
    """

    first: Scene
    second: Scene
    about_first: tuple[Question, ...]
    about_second: tuple[Question, ...]


def make_talk(scenes: list[Scene], rng: random.Random) -> Talk:
    """Draws two of the scenes, three questions about one and two about the other."""
    while True:
        first, second = rng.sample(scenes, 2)
        about_first = _ask(first, rng, 3)
        shared = about_first[-1]
        again = ask_again(shared, second)
        if again is None or again.sentence == shared.sentence:
            continue
        (other,) = _ask(second, rng, 1)
        if other.text != again.text:
            return Talk(first, second, tuple(about_first), (again, other))


def run_dialogue(talk: Talk, new_chat: Callable[[], Any]) -> list[tuple[Question, str]]:
    """Asks all five questions in one chat; gives each with the answer that came."""
    chat, said = new_chat(), []
    for scene, questions in ((talk.first, talk.about_first), (talk.second, talk.about_second)):
        image: Image.Image | None = draw_scene(scene)
        for question in questions:
            said.append((question, chat.ask(question.text, image)))
            image = None  # it is part of the chat now
    return said


def _ask(scene: Scene, rng: random.Random, count: int) -> list[Question]:
    found: list[Question] = []
    while len(found) < count:
        question = ask(rng.choice(SCORED), scene, rng)
        if question and all(question.text != other.text for other in found):
            found.append(question)
    return found
