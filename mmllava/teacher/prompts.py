"""What the teacher is asked to write: instructions and examples, from files.

A folder has a subfolder for each kind, in the layout of LLaVA's release:
``system_message.txt``, and for each example ``NNN_caps.txt`` and ``NNN_conv.txt``.
``recipes/`` beside this file holds our own.
"""

from dataclasses import dataclass
from pathlib import Path

from mmllava.errors import DataError
from mmllava.teacher.endpoint import Request
from mmllava.teacher.files import read_text
from mmllava.teacher.image_context import ImageContext

OURS = Path(__file__).parent / 'prompt_files'


@dataclass(frozen=True)
class Kind:
    """One of the three kinds of data."""

    folder: str
    boxes: bool  # whether the teacher is told the boxes
    turns: tuple[int, int] | None  # fewest and most; None: the answer is the description itself


KINDS = {
    'conversation': Kind('conversation', boxes=False, turns=(1, 20)),
    'detail': Kind('detail_description', boxes=True, turns=None),
    'complex': Kind('complex_reasoning', boxes=True, turns=(1, 1)),
}


@dataclass(frozen=True)
class Recipe:
    """An instruction, and examples as (what is told of an image, what was written of it)."""

    kind: str
    system: str
    examples: tuple[tuple[str, str], ...]

    def request(self, image: ImageContext, max_tokens: int, temperature: float | None) -> Request:
        """Instruction, examples as turns, then the image."""
        messages = [('system', self.system)]
        for told, written in self.examples:
            messages += [('user', told), ('assistant', written)]
        messages.append(('user', image.describe(KINDS[self.kind].boxes)))
        return Request(f'{image.id}/{self.kind}', tuple(messages), max_tokens, temperature)


def read_recipe(kind: str, folder: Path = OURS) -> Recipe:
    """The recipe of a kind.

    Raises:
        DataError: the instruction, or one half of an example, is missing or empty.
    """
    own = folder / KINDS[kind].folder
    told = sorted(own.glob('[0-9]*_caps.txt'))
    written = sorted(own.glob('[0-9]*_conv.txt'))
    lonely = {f.name[:-9] for f in told} ^ {f.name[:-9] for f in written}
    if lonely:
        raise DataError(
            f'{own} has example {min(lonely)} by half; expected NNN_caps.txt and NNN_conv.txt.'
        )
    pairs = zip(told, written, strict=True)
    examples = tuple((read_text(a).strip(), read_text(b).strip()) for a, b in pairs)
    return Recipe(kind, read_text(own / 'system_message.txt', 'a recipe').strip(), examples)
