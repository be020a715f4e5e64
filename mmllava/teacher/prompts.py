"""Reads instructions and examples for the teacher from files, and builds requests of them.

A folder has a subfolder for each kind, in the layout of LLaVA's release:
``system_message.txt``, and for each example ``NNN_caps.txt`` and ``NNN_conv.txt``.
``prompt_files/`` next to this file has our own.
"""

from dataclasses import dataclass
from pathlib import Path

from mmllava import io
from mmllava.errors import DataError
from mmllava.teacher.endpoint import Request
from mmllava.teacher.image_context import ImageContext

OURS = Path(__file__).parent / 'prompt_files'


@dataclass(frozen=True)
class Kind:
    """A kind of training data."""

    folder: str
    boxes: bool  # the request has the boxes
    turns: tuple[int, int] | None  # minimum and maximum; None: the answer is a description


KINDS = {
    'conversation': Kind('conversation', boxes=False, turns=(1, 20)),
    'detail': Kind('detail_description', boxes=True, turns=None),
    'complex': Kind('complex_reasoning', boxes=True, turns=(1, 1)),
}


@dataclass(frozen=True)
class Recipe:
    """An instruction, and examples as (context of an image, answer)."""

    kind: str
    system: str
    examples: tuple[tuple[str, str], ...]

    def request(self, image: ImageContext, max_tokens: int, temperature: float | None) -> Request:
        """Builds a request: instruction, examples as turns, then the context of the image."""
        messages = [('system', self.system)]
        for context, answer in self.examples:
            messages += [('user', context), ('assistant', answer)]
        messages.append(('user', image.describe(KINDS[self.kind].boxes)))
        return Request(f'{image.id}/{self.kind}', tuple(messages), max_tokens, temperature)


def read_recipe(kind: str, folder: Path = OURS) -> Recipe:
    """Reads the recipe of a kind.

    Raises:
        DataError: the instruction, or one half of an example, is missing or empty.
    """
    own = folder / KINDS[kind].folder
    contexts = sorted(own.glob('[0-9]*_caps.txt'))
    answers = sorted(own.glob('[0-9]*_conv.txt'))
    unpaired = {f.name[:-9] for f in contexts} ^ {f.name[:-9] for f in answers}
    if unpaired:
        raise DataError(
            f'{own} has one half of example {min(unpaired)}; expected NNN_caps.txt and '
            'NNN_conv.txt. Add the other file.'
        )
    pairs = zip(contexts, answers, strict=True)
    examples = tuple((read_prompt(a), read_prompt(b)) for a, b in pairs)
    return Recipe(kind, read_prompt(own / 'system_message.txt'), examples)


def read_prompt(file: Path) -> str:
    """Reads the text of a prompt, without space around it.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    text = io.read_text(file, 'the text of a prompt').strip()
    if not text:
        raise DataError(f'{file} is empty, expected the text of a prompt. Write it.')
    return text
