#!/usr/bin/env python
"""Checks the data of a config before training or evaluation.

  python tools/misc/check_data.py CONFIG

  # a benchmark: its files exist and match, and every image can be decoded
  python tools/misc/check_data.py configs/benchmarks/pope.py

  # offline, with the tokenizer of a folder; with another annotation file
  python tools/misc/check_data.py CONFIG --tokenizer weights/llava-v1.5-7b \\
      --cfg-options train_dataloader.dataset.ann_file=mine.json

For training data it reads every image and encodes every conversation as training does,
without the model's weights. It finds samples that training would skip (images that are
missing, broken or too large, <image> marks that do not match, records that are no
conversation, nothing to learn) and notes images with a wrong extension, large images and
samples over the token limit. It prints counts and one sample with its learned tokens in
green (in [[ ]] if NO_COLOR is set), and writes lengths.png and findings.json.

The last line of output is one JSON object, for scripts. Exit status: 0 every sample can
be learned, 1 some cannot, 2 refused (the reason is on stderr).
"""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))
from _cli import add_cfg_options, make_parser, read_config, run_tool

from mmllava.errors import ConfigError
from mmllava.io import write_json

SHOWN = 5  # printed findings of each kind; findings.json has all
Outcome = tuple[int, dict[str, Any]]  # exit status and the object of the last line


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument(
        'config', help='training config with train_dataloader and model, or benchmark config'
    )
    parser.add_argument('--tokenizer', help="folder with tokenizer.model; default: the config's")
    parser.add_argument(
        '--max-tokens', type=int, help="length at which training cuts; default: the model's context"
    )
    parser.add_argument('--out', help='folder to write into; default: work_dirs/NAME_OF_CONFIG')
    parser.add_argument('--workers', type=int, default=min(os.cpu_count() or 1, 8), help='0: none')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def load_config(args: argparse.Namespace) -> Any:
    """Loads the config, with the command line's changes."""
    from mmllava.evaluation.benchmark_config import is_benchmark

    cfg = read_config(args.config, args.cfg_options, 'configs/train/README.md')
    if args.workers < 0:
        raise ConfigError(f'--workers is {args.workers}, expected 0 or more.')
    if is_benchmark(cfg):
        for name in ('tokenizer', 'max_tokens'):
            if getattr(args, name) is not None:
                raise ConfigError(
                    f'--{name.replace("_", "-")} goes with a config of training; the questions of '
                    'a benchmark are not encoded. Leave it out.'
                )
        return cfg
    if not cfg.get('train_dataloader') or not cfg.get('model'):
        raise ConfigError(f'{args.config} has no train_dataloader and model; expected both.')
    if args.max_tokens is not None and args.max_tokens < 1:
        raise ConfigError(f'--max-tokens is {args.max_tokens}, expected 1 or more.')
    checkpoint = (cfg.model.get('init_cfg') or {}).get('checkpoint')
    own = checkpoint and (Path(checkpoint) / 'tokenizer.model').is_file()
    if args.tokenizer:
        cfg.model.tokenizer.name_or_path = args.tokenizer
    elif own and not Path(cfg.model.tokenizer.name_or_path).is_dir():
        cfg.model.tokenizer.name_or_path = checkpoint  # as the model does once it has weights
    return cfg


def build(cfg: Any, max_tokens: int | None) -> Any:
    """Builds the dataset with its encoder, from a model of shapes only."""
    import mmllava  # noqa: F401  before mmpretrain, which it patches for new transformers
    from mmllava.datasets import InstructDataset
    from mmllava.models import Llava, SampleEncoder
    from mmllava.registry import DATASETS, MODELS
    from mmllava.training.config_check import check_no_wrapper
    from mmllava.training.inspect_data import check_settings

    check_no_wrapper(cfg.train_dataloader.dataset)
    for registry, wanted, found in (
        (DATASETS, InstructDataset, cfg.train_dataloader.dataset.get('type')),
        (MODELS, Llava, cfg.model.get('type')),
    ):
        class_ = registry.get(found) if isinstance(found, str) else found
        if not (isinstance(class_, type) and issubclass(class_, wanted)):
            raise ConfigError(
                f'the config has a {found}; only a mmllava.{wanted.__name__} can be checked.'
            )
    dataset, model = DATASETS.build(cfg.train_dataloader.dataset), MODELS.build(cfg.model)
    check_settings(cfg, dataset, model)
    dataset.encoder = SampleEncoder(model, max_tokens)
    return dataset


def examine_all(dataset: Any, workers: int) -> list[Any]:
    """Examines each record once, with a progress bar."""
    import numpy as np
    from torch.utils.data import DataLoader, Dataset
    from tqdm import tqdm

    from mmllava.training.inspect_data import examine

    class Records(Dataset):
        def __len__(self) -> int:
            return len(indices)

        def __getitem__(self, k: int) -> Any:
            return examine(dataset, int(indices[k]))

    indices = np.unique(dataset.record_ids, return_index=True)[1]
    loader = DataLoader(Records(), batch_size=None, num_workers=workers)
    return list(tqdm(loader, total=len(indices), unit='record', file=sys.stderr))


def summarise(dataset: Any, found: list[Any], max_tokens: int) -> dict[str, Any]:
    """Computes the counts of the last line of output."""
    import numpy as np

    good = np.array([e.tokens for e in found if not e.bad] or [0])
    return dict(
        records=len(found),
        samples_per_epoch=len(dataset),
        with_images=int((dataset.lengths > 0).sum()),
        text_only=int((dataset.lengths < 0).sum()),
        bad=dict(Counter(e.bad[0] for e in found if e.bad)),
        notes=dict(Counter(kind for e in found for kind in {n[0] for n in e.notes})),
        max_tokens=max_tokens,
        tokens=dict(
            median=int(np.median(good)), p95=int(np.percentile(good, 95)), longest=int(good.max())
        ),
        learned_tokens=sum(e.learned for e in found if not e.bad),
        all_tokens=int(good.sum()),
    )


def print_findings(findings: list[dict[str, str]]) -> None:
    """Prints each kind of finding with its count and a few examples."""
    from mmllava.datasets.llava_json import FAULTS
    from mmllava.training.inspect_data import NOTES

    for kinds, effect in ((FAULTS, 'cannot be learned'), (NOTES, 'noted')):
        for kind, meaning in kinds.items():
            own = [f for f in findings if f['kind'] == kind]
            if own:
                print(f'\n{kind} ({effect}): {len(own)} x {meaning}')
                for finding in own[:SHOWN]:
                    print(f'  {finding["where"]}: {finding["message"]}')
                if len(own) > SHOWN:
                    print(f'  ... and {len(own) - SHOWN} more')


def print_sample(dataset: Any, index: int) -> None:
    """Prints one sample as the model sees it, learned tokens in green."""
    from mmllava.training.inspect_data import spell

    start, end = ('[[', ']]') if os.environ.get('NO_COLOR') else ('\033[30;42m', '\033[0m')
    sample = dataset.encoder(dataset.prepare_data(index))
    runs = spell(sample.prompt, sample.image_lengths, dataset.encoder.builder.tokenizer)
    print(f'\n{dataset.describe(index)}, learned tokens in {start}this{end}:')
    print(''.join(_mark(text, start, end) if learned else text for text, learned in runs))


def _mark(text: str, start: str, end: str) -> str:
    """Marks learned text; line breaks are made visible and interrupt the colour."""
    return start + text.replace('\n', f'\u21b5{end}\n{start}') + end


def draw_lengths(found: list[Any], max_tokens: int, file: Path) -> None:
    """Draws the histogram of lengths, in tokens, as a PNG."""
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot

    groups = {
        'with images': [e.tokens for e in found if not e.bad and e.images],
        'text only': [e.tokens for e in found if not e.bad and not e.images],
    }
    groups = {f'{name} ({len(own):,})': own for name, own in groups.items() if own}
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout='constrained')
    axes.hist(list(groups.values()), bins=40, stacked=True, label=list(groups))
    longest = max((max(own) for own in groups.values()), default=0)
    if max_tokens <= 1.5 * longest:
        axes.axvline(max_tokens, color='black', linestyle='--', label=f'limit, {max_tokens:,}')
    axes.set_xlabel('tokens of a sample, images included')
    axes.set_ylabel('records')
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_title('Length of training samples')
    if groups:
        axes.legend()
    part = file.with_name(f'.{file.name}.part')
    figure.savefig(part, dpi=120, format='png')
    pyplot.close(figure)
    os.replace(part, file)


def run_benchmark(cfg: Any, out: Path, workers: int) -> Outcome:
    """Checks a benchmark; reading its files checks them."""
    import mmllava  # noqa: F401  before mmpretrain, which it patches for new transformers
    from mmllava.benchmarks.check_images import KINDS, check_images
    from mmllava.registry import DATASETS

    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    count, findings = check_images(dataset.items, workers)
    write_json(out / 'findings.json', findings)
    truths = sum(item.truth is not None for item in dataset.items)
    print(
        f'{len(dataset):,} questions, {truths:,} with a reference answer; {count:,} images, '
        f'{len(findings):,} of them bad\nwritten: {out}/findings.json'
    )
    for kind, meaning in KINDS.items():
        own = [f for f in findings if f['kind'] == kind]
        if own:
            print(f'\n{kind}: {len(own)} x {meaning}')
            for finding in own[:SHOWN]:
                print(f'  {finding["where"]}: {finding["message"]}')
            if len(own) > SHOWN:
                print(f'  ... and {len(own) - SHOWN} more')
    print(f'\nthe first question:\n{dataset.ask(dataset.items[0]) or "(a caption)"}')
    bad = dict(Counter(f['kind'] for f in findings))
    status = 1 if findings else 0
    return status, dict(questions=len(dataset), answers=truths, images=count, bad=bad)


def run(args: argparse.Namespace) -> Outcome:
    from mmllava.evaluation.benchmark_config import is_benchmark

    cfg = load_config(args)
    out = Path(args.out or f'work_dirs/{Path(args.config).stem}')
    if is_benchmark(cfg):
        return run_benchmark(cfg, out, args.workers)
    dataset = build(cfg, args.max_tokens)
    max_tokens = dataset.encoder.max_tokens
    found = examine_all(dataset, args.workers)
    findings = [
        dict(where=dataset.describe(e.index), kind=kind, message=message)
        for e in found
        for kind, message in [*([e.bad] if e.bad else []), *e.notes]
    ]
    summary = summarise(dataset, found, max_tokens)
    write_json(out / 'findings.json', findings)
    draw_lengths(found, max_tokens, out / 'lengths.png')
    tokens = summary['tokens']
    print(
        f'{summary["records"]:,} records; an epoch has {summary["samples_per_epoch"]:,} samples, '
        f'{summary["with_images"]:,} with images and {summary["text_only"]:,} text only\n'
        f'tokens of a sample: median {tokens["median"]:,}, 95% have {tokens["p95"]:,} or fewer, '
        f'longest {tokens["longest"]:,}; limit {max_tokens:,}\n'
        f'learned: {summary["learned_tokens"]:,} of {summary["all_tokens"]:,} tokens\n'
        f'written: {out}/lengths.png, {out}/findings.json'
    )
    print_findings(findings)
    good = [e for e in found if not e.bad]
    if good:  # preferably one with an image
        print_sample(dataset, next((e for e in good if e.images), good[0]).index)
    return 1 if summary['bad'] else 0, summary


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv, stopped='stopped; nothing was written')


if __name__ == '__main__':
    sys.exit(main())
