"""The benchmarks, by the name that a config gives."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmllava.benchmarks import captions, multiple_choice, open_ended, scienceqa, vqa, yes_no
from mmllava.benchmarks.scores import alone
from mmllava.benchmarks.types import Benchmark, Item
from mmllava.errors import ConfigError, DataError, unknown_name

BENCHMARKS: dict[str, Benchmark] = {
    'coco': Benchmark(
        'COCO captions',
        captions.read_coco,
        captions.score_caption_set,
        captions.submit_captions,
        caption=True,
        each=captions.each_caption,
    ),
    'karpathy': Benchmark(
        "COCO captions and Flickr30k, Karpathy's splits",
        captions.read_karpathy,
        captions.score_caption_set,
        captions.submit_captions,
        caption=True,
        each=captions.each_caption,
    ),
    'nocaps': Benchmark(
        'NoCaps',
        captions.read_coco,
        captions.score_caption_set,
        captions.submit_captions,
        caption=True,
        each=captions.each_caption,
    ),
    'scienceqa': Benchmark(
        'ScienceQA',
        scienceqa.read_scienceqa,
        scienceqa.score_scienceqa,
        scienceqa.submit_scienceqa,
        each=alone(scienceqa.score_scienceqa),
    ),
    'vqav2': Benchmark(
        'VQAv2', vqa.read_vqav2, vqa.score_vqav2, vqa.submit_vqav2, each=alone(vqa.score_vqav2)
    ),
    'okvqa': Benchmark(
        'OK-VQA', vqa.read_vqav2, vqa.score_vqa, vqa.submit_vqav2, each=alone(vqa.score_vqa)
    ),
    'gqa': Benchmark('GQA', vqa.read_gqa, vqa.score_gqa, vqa.submit_gqa, each=alone(vqa.score_gqa)),
    'vizwiz': Benchmark(
        'VizWiz', vqa.read_vizwiz, vqa.score_vqa, vqa.submit_vizwiz, each=alone(vqa.score_vqa)
    ),
    'textvqa': Benchmark(
        'TextVQA', vqa.read_textvqa, vqa.score_vqa, vqa.submit_vqav2, each=alone(vqa.score_vqa)
    ),
    'pope': Benchmark(
        'POPE', yes_no.read_pope, yes_no.score_pope, yes_no.submit_pope, each=yes_no.each_pope
    ),
    'mme': Benchmark(
        'MME', yes_no.read_mme, yes_no.score_mme, yes_no.submit_mme, each=yes_no.each_mme
    ),
    'mmbench': Benchmark(
        'MMBench',
        multiple_choice.read_mmbench,
        multiple_choice.score_mmbench,
        multiple_choice.submit_mmbench,
        each=multiple_choice.each_mmbench,
    ),
    'mmbench_cn': Benchmark(
        'MMBench-CN',
        multiple_choice.read_mmbench,
        multiple_choice.score_mmbench,
        multiple_choice.submit_mmbench,
        each=multiple_choice.each_mmbench,
    ),
    'seed': Benchmark(
        'SEED-Bench',
        multiple_choice.read_seed,
        multiple_choice.score_seed,
        multiple_choice.submit_seed,
        each=alone(multiple_choice.score_seed),
    ),
    'mmvet': Benchmark('MM-Vet', open_ended.read_mmvet, submit=open_ended.submit_mmvet),
    'llava_bench': Benchmark(
        'LLaVA-Bench',
        open_ended.read_llava_bench,
        submit=open_ended.submit_llava_bench,
        signed=True,
    ),
}


def get_benchmark(name: str) -> Benchmark:
    """The set of that name.

    Raises:
        ConfigError: there is none; close ones are listed.
    """
    if name not in BENCHMARKS:
        raise unknown_name('benchmark', name, BENCHMARKS)
    return BENCHMARKS[name]


def read(
    name: str, data_root: str, files: Mapping[str, str], settings: Mapping[str, Any]
) -> list[Item]:
    """A set's items.

    Args:
        name: of the set.
        data_root: what the paths in ``files`` are below.
        files: role -> path; one that is None is left out.
        settings: of the set's reader.

    Raises:
        ConfigError: a role or setting that the set does not have, or one too few.
        DataError: a file is not as its format says, or only some of its items have a truth.
    """
    reader = get_benchmark(name).read
    known = inspect.signature(reader).parameters
    roles = {k for k, p in known.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    for given, wanted, kind in (
        (files, roles, 'file'),
        (settings, set(known) - roles, 'setting'),
    ):
        for key in given:
            if key not in wanted:
                raise unknown_name(f'{kind} of {name}', key, wanted)
    paths = {k: Path(data_root, v) for k, v in files.items() if v is not None}
    for role in roles - set(paths):
        if known[role].default is inspect.Parameter.empty:
            raise ConfigError(
                f'{name} needs the file "{role}"; files has {", ".join(paths) or "none"}. '
                'Name it in the dataset\'s "files".'
            )
    items = reader(**paths, **settings)
    _all_or_none(name, items)
    return items


def _all_or_none(name: str, items: Sequence[Item]) -> None:
    asked = [item for item in items if item.asked]
    without = [item for item in asked if item.truth is None]
    if without and len(without) < len(asked):
        raise DataError(
            f'{len(without)} of {len(asked)} records of {name} have no answer to compare with, '
            f'the first is {without[0].id!r}. Expected one in each, or in none where a server '
            'scores. Fetch the file again, or take those records out.'
        )
