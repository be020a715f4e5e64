"""Prompts and decoding settings of every benchmark, by the evaluation script that uses them.

They move the score of the same weights by whole points, so a config names a preset, and it is
written with the score. Presets: ``llava``, the authors' scripts; ``lmms-eval`` 0.7.3, its
tasks for LLaVA; ``mmpretrain`` 1.2, its LLaVA configs. ``scienceqa`` has two more, ``llava-v1``
and ``llava-v0``.
"""

from dataclasses import dataclass, field
from typing import Any

from mmllava.errors import unknown_name


@dataclass(frozen=True)
class FollowUp:
    """A second request whose prompt holds the first answer as reasoning.

    Args:
        prompt: what follows the first answer in the prompt of the second.
        separator: between the two in the answer that is scored.
        max_new_tokens: limit of the second answer.
    """

    prompt: str
    separator: str
    max_new_tokens: int


@dataclass(frozen=True)
class Protocol:
    """The prompt and the decoding settings of a benchmark under one preset.

    Args:
        source: script, task or config that it reproduces.
        text: format of the question, with the fields of an item in braces; '' to caption.
        preset: name of the model's preset, in `mmllava.prompts.presets`.
        generation: settings that override those of the preset.
        capitalize: write the question as "What is ...", all else in lower case.
        follow_up: second request, made after the first answer.
    """

    source: str
    text: str = ''
    preset: str = 'vqa_open'
    generation: dict[str, Any] = field(default_factory=dict)
    capitalize: bool = False
    follow_up: FollowUp | None = None


_LETTER = "\nAnswer with the option's letter from the given choices directly."
_LETTER_CN = '\n请直接回答选项字母。'  # answer with the option's letter directly
_SHORT = '\nAnswer the question using a single word or phrase.'
_UNSURE = "\nWhen the provided information is insufficient, respond with 'Unanswerable'." + _SHORT
_GREEDY = dict(do_sample=False, num_beams=1)


def _greedy(max_new_tokens: int) -> dict[str, Any]:
    return dict(_GREEDY, max_new_tokens=max_new_tokens)


def _captions(task: str) -> dict[str, Protocol]:
    """Builds the protocols of captions.

    The authors publish no caption score; v1.5 was trained on captions with this very sentence.
    """
    return {
        'llava': Protocol(source="TextCaps in LLaVA-1.5's training mix", preset='coco_short'),
        'lmms-eval': Protocol(source=f'tasks/{task}', preset='coco_short'),
        'mmpretrain': Protocol(source='llava-7b-v1.5_caption', preset='describe_beam3'),
    }


def _short(script: str, task: str, max_new_tokens: int, **more: Any) -> dict[str, Protocol]:
    """Builds the protocols of short answers, which the three sources ask for nearly alike."""
    text = more.pop('text', '{question}' + _SHORT)
    return {
        'llava': Protocol(
            source=f'scripts/v1_5/eval/{script}.sh', text=text, generation=_greedy(128)
        ),
        'lmms-eval': Protocol(
            source=f'tasks/{task}', text=text, generation=_greedy(max_new_tokens), **more
        ),
        'mmpretrain': Protocol(
            source='llava-7b-v1.5_vqa (that config answers COCO captions)',
            text='{question}',
            generation=_greedy(100),
        ),
    }


_VQA = '{question}' + _SHORT
#: benchmark -> preset -> protocol
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    'coco': _captions('coco_cap'),
    'karpathy': _captions('coco_cap'),
    'nocaps': _captions('nocaps'),
    'scienceqa': {
        'llava': Protocol(
            source='scripts/v1_5/eval/sqa.sh, its questions made here from the problems: not '
            'compared with llava_test_CQM-A.json, which is the file to give (role "questions"); '
            'published with square images, since the code of the time cropped them',
            text='{cqm}' + _LETTER,
            generation=_greedy(1024),
        ),
        'llava-v1': Protocol(
            source='scripts/sqa_eval_batch.sh, for models tuned on ScienceQA (QCM-LEA)',
            text='{qcm}',
            generation=_greedy(1024),
        ),
        'llava-v0': Protocol(
            source='scripts/sqa_eval_batch.sh of 1.0.1, --answer-prompter, for v0 tuned on '
            'ScienceQA (QCM-LEPA); there sampled',
            text='{qcm}',
            generation=_greedy(1024),
            follow_up=FollowUp(' ###\nANSWER:', '\n The answer is ', 64),
        ),
        'lmms-eval': Protocol(
            source='tasks/scienceqa',
            text='{hint}{question}\n{options}' + _LETTER,
            generation=_greedy(16),
        ),
    },
    'vqav2': _short('vqav2', 'vqav2', 16),
    # The authors have no script for it; they trained on its questions with this suffix.
    'okvqa': {
        **_short('vqav2', 'ok_vqa', 1024),
        'lmms-eval': Protocol(
            source='tasks/ok_vqa', text='{question}' + _UNSURE, generation=_greedy(1024)
        ),
    },
    'gqa': _short('gqa', 'gqa', 16),
    'vizwiz': _short('vizwiz', 'vizwiz_vqa', 1024, text='{question}' + _UNSURE, capitalize=True),
    'textvqa': {
        'llava': Protocol(
            source='scripts/v1_5/eval/textvqa.sh: the prompt has the tokens that Rosetta read',
            text='{question}\nReference OCR token: {ocr}' + _SHORT,
            generation=_greedy(128),
            capitalize=True,
        ),
        'llava-no-ocr': Protocol(
            source='the same without those tokens',
            text=_VQA,
            generation=_greedy(128),
            capitalize=True,
        ),
        'lmms-eval': Protocol(
            source='tasks/textvqa, ocr: false',
            text=_VQA,
            generation=_greedy(1024),
            capitalize=True,
        ),
        'mmpretrain': Protocol(
            source='llava-7b-v1.5_vqa (that config answers COCO captions)',
            text='{question}',
            generation=_greedy(100),
        ),
    },
    'pope': _short('pope', 'pope', 128),
    'mme': {
        'llava': Protocol(
            source='scripts/v1_5/eval/mme.sh',
            text='{plain}' + _SHORT,
            generation=_greedy(128),
        ),
        'lmms-eval': Protocol(source='tasks/mme', text='{plain}' + _SHORT, generation=_greedy(16)),
    },
    'mmbench': {
        'llava': Protocol(
            source='scripts/v1_5/eval/mmbench.sh',
            text='{hint}{question}\n{options}' + _LETTER,
            generation=_greedy(1024),
        ),
        'lmms-eval': Protocol(
            source='tasks/mmbench, two line breaks included',
            text='{hint_word}{question} There are several options:\n{options}\n' + _LETTER,
            generation=_greedy(1024),
        ),
    },
    'mmbench_cn': {
        'llava': Protocol(
            source='scripts/v1_5/eval/mmbench_cn.sh',
            text='{hint}{question}\n{options}' + _LETTER_CN,
            generation=_greedy(1024),
        ),
        'lmms-eval': Protocol(
            source='tasks/mmbench, two line breaks included',
            text='{hint_word}{question} 有如下几个选项\uff1a\n{options}\n'
            '\n请直接使用所提供的选项字母作为答案回答。',
            generation=_greedy(256),
        ),
    },
    'seed': {
        'llava': Protocol(
            source='scripts/v1_5/eval/seed.sh',
            text='{question}\n{options}' + _LETTER,
            generation=_greedy(128),
        ),
        'lmms-eval': Protocol(
            source='tasks/seedbench',
            text='{question}\n{options}' + _LETTER,
            generation=_greedy(1024),
        ),
    },
    'mmvet': {
        'llava': Protocol(
            source='scripts/v1_5/eval/mmvet.sh', text='{question}', generation=_greedy(1024)
        ),
        'lmms-eval': Protocol(
            source='tasks/mmvet',
            text='First please perform reasoning, and think step by step to provide best answer '
            'to the following question: \n\n{question}',
            generation=_greedy(1024),
        ),
    },
    'llava_bench': {
        'llava': Protocol(
            source='scripts/v1_5/eval/llavabench.sh', text='{question}', generation=_greedy(1024)
        ),
        'lmms-eval': Protocol(
            source='tasks/llava-in-the-wild', text='{question}', generation=_greedy(4096)
        ),
    },
}


def get_protocol(benchmark: str, preset: str) -> Protocol:
    """Returns the protocol of a benchmark.

    Raises:
        ConfigError: the benchmark is unknown, or it has no such preset.
    """
    if benchmark not in PROTOCOLS:
        raise unknown_name('benchmark', benchmark, PROTOCOLS)
    if preset not in PROTOCOLS[benchmark]:
        raise unknown_name(f'preset of {benchmark}', preset, PROTOCOLS[benchmark])
    return PROTOCOLS[benchmark][preset]
