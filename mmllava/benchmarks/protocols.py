"""Floor 3. How each set is asked, by whom: the text around a question and the decoding.

The same weights score whole points apart by these, so a preset is named in the config and
written with the score. Presets: ``llava``, the authors' scripts; ``lmms-eval`` 0.7.3, its
tasks for LLaVA; ``mmpretrain`` 1.2, its LLaVA configs. ``scienceqa`` has one more, ``llava-v1``.
"""

from dataclasses import dataclass, field
from typing import Any

from mmllava.errors import unknown_name


@dataclass(frozen=True)
class Protocol:
    """What is asked, and how it is answered.

    Args:
        source: where it stands.
        text: the question, with the fields of the set's items in braces; empty where a
            picture is captioned.
        preset: the model's, in `mmllava.prompts.presets`.
        generation: over that preset's settings.
        aspect: of pictures, in the place of the checkpoint's own; tiles stay tiles.
        capitalize: write the question as "What is ...", the rest of it in small letters.
    """

    source: str
    text: str = ''
    preset: str = 'vqa_open'
    generation: dict[str, Any] = field(default_factory=dict)
    aspect: str | None = None
    capitalize: bool = False


_LETTER = "\nAnswer with the option's letter from the given choices directly."
_GREEDY = dict(do_sample=False, num_beams=1)


def _greedy(max_new_tokens: int) -> dict[str, Any]:
    return dict(_GREEDY, max_new_tokens=max_new_tokens)


#: set -> preset -> protocol
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    'scienceqa': {
        'llava': Protocol(
            source='scripts/v1_5/eval/sqa.sh; published with square pictures, since code of then '
            'cropped them',
            text='{cqm}' + _LETTER,
            generation=_greedy(1024),
        ),
        'llava-v1': Protocol(
            source='scripts/sqa_eval_batch.sh, for models tuned on ScienceQA (QCM-LEA)',
            text='{qcm}',
            generation=_greedy(1024),
        ),
        'lmms-eval': Protocol(
            source='tasks/scienceqa',
            text='{hint}{question}\n{options}' + _LETTER,
            generation=_greedy(16),
            aspect='square',
        ),
    },
}


def get_protocol(benchmark: str, preset: str) -> Protocol:
    """The protocol of a set.

    Raises:
        ConfigError: unknown set, or a preset that it does not have.
    """
    if benchmark not in PROTOCOLS:
        raise unknown_name('benchmark', benchmark, PROTOCOLS)
    if preset not in PROTOCOLS[benchmark]:
        raise unknown_name(f'preset of {benchmark}', preset, PROTOCOLS[benchmark])
    return PROTOCOLS[benchmark][preset]
