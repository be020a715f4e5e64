#!/usr/bin/env python
"""Times LoRA training, packed, against transformers' LLaVA with PEFT on padded batches.

  python tools/benchmark/train.py                            # a small model on this CPU
  python tools/benchmark/train.py --size 7B --device cuda    # v1.5's shape; needs 80 GB

Both sides have the same random weights (their frozen ones are the same tensors), the same
samples, adapters (r 128, alpha 256), recomputed activations, clipping and AdamW, and take
whole steps in turn, in one process. Samples have lengths like mix665k's (packing.py). Ours
is what tools/train.py runs in a step; theirs is LlavaForConditionalGeneration, its batches
padded on the right. On a GPU both compute in bfloat16, on a CPU in float32. Before the first step
the two losses must agree. Tokens/s count real tokens only; seconds are the clock's on a GPU,
and one thread's processor time on a CPU. `flops_share` is what a model must compute (4 for a
frozen weight and token, 6 for an adapter's, attention, the tower forward; nothing for padding
or for what is computed twice) over the rate of a large matrix product, measured here.
Rows: tools/benchmark/results/train.jsonl. The last line of output is the row.
Exit status: 0 done, 1 the losses differ (then there is no row).
"""

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.append(str(Path(__file__).parents[1]))
from _cli import Unfinished, make_parser, run_tool
from packing import IMAGE_TOKENS, draw_lengths

from mmllava.io import provenance

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / 'results' / 'train.jsonl'
LIMITS = dict(bfloat16=2e-2, float32=1e-4)  # of the difference between the first losses
LORA = dict(r=128, alpha=256, dropout=0.0)  # none dropped, or the losses could not agree
SMALL = dict(
    vision_encoder=dict(
        type='mmllava.CLIPVisionTower',
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=336,
        patch_size=14,
    ),
    lang_encoder=dict(
        type='mmllava.LanguageModel',
        vocab_size=1000,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=4096,
    ),
)


def build(size: str, device: str, dtype: str) -> Any:
    """Builds our model with random weights on the device, all of them frozen."""
    import torch
    from mmengine.config import Config

    from mmllava.registry import MODELS

    config = Config.fromfile(ROOT / 'configs/_base_/models/llava_7b_v1.5.py').model.to_dict()
    config.update(SMALL if size == 'small' else {})
    for part in ('vision_encoder', 'lang_encoder'):
        config[part] = {k: v for k, v in config[part].items() if k != 'pretrained'}
    model = MODELS.build(dict(config, dtype=dtype))
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        with torch.device(device):
            model.init_weights()
    finally:
        torch.set_default_dtype(default)
    model.vision_tower.rebuild_buffers()
    model.language.rebuild_buffers()
    return model.to(device)


def build_theirs(model: Any) -> Any:
    """transformers' LLaVA on the weights of ours."""
    import torch
    import transformers

    tower, text = model.vision_tower.config, model.language.config
    config = transformers.LlavaConfig(
        vision_config=tower.to_dict(),
        text_config=text.to_dict(),
        image_token_index=text.vocab_size - 1,
        vision_feature_layer=-2,
        image_seq_length=model.vision_tower.num_patches,
    )
    first = next(model.parameters())
    default = torch.get_default_dtype()
    torch.set_default_dtype(first.dtype)
    try:
        with torch.device(first.device):
            theirs = transformers.LlavaForConditionalGeneration(config)
    finally:
        torch.set_default_dtype(default)
    found = theirs.state_dict()
    inner = any('.vision_model.' in name for name in found)  # until transformers 5
    tower_head = 'model.vision_tower.' + 'vision_model.' * inner
    heads = {
        'language.lm.model.': 'model.language_model.',
        'language.lm.lm_head.': 'lm_head.',
        'vision_tower.layers.': f'{tower_head}encoder.layers.',
        'vision_tower.': tower_head,
        'projector.layers.0.': 'model.multi_modal_projector.linear_1.',
        'projector.layers.2.': 'model.multi_modal_projector.linear_2.',
    }
    shared = {}
    for name, parameter in model.named_parameters():
        head = next(head for head in heads if name.startswith(head))
        value = parameter.detach()
        shared[heads[head] + name.removeprefix(head)] = (
            value.clone() if head.startswith('projector') else value
        )
    left = theirs.load_state_dict(shared, strict=False, assign=True)
    assert not left.unexpected_keys, left.unexpected_keys[:3]
    assert all('post_layernorm' in name for name in left.missing_keys), left.missing_keys[:3]
    return theirs


def prepare_theirs(theirs: Any) -> None:
    """Adds the same adapters by PEFT, float32 projector and gradient checkpointing."""
    from peft import LoraConfig, inject_adapter_in_model

    from mmllava.training.lora import TARGETS

    theirs.requires_grad_(False)
    settings = LoraConfig(
        r=LORA['r'],
        lora_alpha=LORA['alpha'],
        lora_dropout=LORA['dropout'],
        target_modules=list(TARGETS),
    )
    inject_adapter_in_model(settings, theirs.model.language_model)
    theirs.model.multi_modal_projector.requires_grad_(True)
    for parameter in theirs.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    theirs.gradient_checkpointing_enable(dict(use_reentrant=False))
    theirs.train()


class Samples:
    """Random samples of given lengths: ids, which of them are learned, and images."""

    def __init__(self, lengths: list[int], words: int, side_px: int) -> None:
        import torch

        draw = torch.Generator().manual_seed(sum(map(abs, lengths)))
        self.images, self.texts = [], []
        for length in lengths:
            size = abs(length) - IMAGE_TOKENS * (length > 0)
            self.texts.append(torch.randint(words - 1, (size,), generator=draw))
            image = torch.randn(1, 3, side_px, side_px, generator=draw)
            self.images.append(image if length > 0 else None)
        self.tokens = sum(map(abs, lengths))
        self.slots = len(lengths) * max(map(abs, lengths))
        self.lengths = [abs(length) for length in lengths]

    @staticmethod
    def learned(text: Any) -> Any:
        """Selects the answer: the last half of the text."""
        labels = text.clone()
        labels[: len(text) // 2] = -100
        return labels


def loss_of_ours(model: Any, samples: Samples) -> Any:
    """Computes `Llava.loss` on packed batch entries, with ids that no tokenizer made."""
    from mmengine.structures import BaseDataElement

    from mmllava.structures import IGNORE_INDEX, IMAGE_TOKEN_INDEX, EncodedPrompt

    device = next(model.parameters()).device
    images, elements = [], []
    for text, image in zip(samples.texts, samples.images, strict=True):
        with_image = image is not None
        ids = [IMAGE_TOKEN_INDEX] * with_image + text.tolist()
        labels = [IGNORE_INDEX] * with_image + samples.learned(text).tolist()
        px = model.vision_tower.image_size
        element = BaseDataElement(prompt=EncodedPrompt(ids, labels))
        element.set_field([(px, px)] * with_image, 'ori_shape')
        elements.append(element)
        images.append([image.to(device)] if with_image else [])
    batch = model.prepare_inputs(images, elements, lambda element, _: element.prompt, 'packed')
    return model.language.loss(batch.embeds, batch.mask, batch.labels, batch.positions)


def loss_of_theirs(theirs: Any, samples: Samples) -> Any:
    """Computes the loss of the same samples, padded on the right, image tokens repeated."""
    import torch

    device = next(theirs.parameters()).device
    mark = theirs.config.image_token_index
    ids, labels = [], []
    for text, image in zip(samples.texts, samples.images, strict=True):
        slots = torch.full((IMAGE_TOKENS * (image is not None),), mark)
        ids.append(torch.cat([slots, text]))
        labels.append(torch.cat([torch.full_like(slots, -100), samples.learned(text)]))
    pad = torch.nn.utils.rnn.pad_sequence
    mask = pad([torch.ones_like(row) for row in ids], batch_first=True)
    images = [p.to(device) for p in samples.images if p is not None]
    dtype = next(theirs.model.vision_tower.parameters()).dtype
    return theirs(
        input_ids=pad(ids, batch_first=True).to(device),
        attention_mask=mask.to(device),
        labels=pad(labels, batch_first=True, padding_value=-100).to(device),
        pixel_values=torch.cat(images).to(dtype) if images else None,
        use_cache=False,
    ).loss


def stepper(model: Any, loss_of: Callable, half: bool) -> Callable[[Samples], float]:
    """Builds a function that takes one whole optimizer step and returns its loss."""
    import torch

    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, weight_decay=0.0)
    kind = trained[0].device.type

    def step(samples: Samples) -> float:
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            loss = loss_of(model, samples)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def flops(model: Any, samples: Samples) -> float:
    """Counts the operations that a step needs; see the top of the file."""
    frozen = adapters = 0
    for name, parameter in model.language.named_parameters():
        if parameter.ndim == 2 and 'embed_tokens' not in name:
            adapters += parameter.numel() * ('.lora_' in name)
            frozen += parameter.numel() * ('.lora_' not in name)
    sizes = model.language.sizes
    # Scores and their use: 4 for each pair, half of the pairs, once forward and twice backward.
    attention = sizes['num_hidden_layers'] * sizes['hidden_size'] * 6
    pairs = sum(n * n for n in samples.lengths)
    tower = sum(p.numel() for p in model.vision_tower.parameters())
    images = sum(p is not None for p in samples.images) * (model.vision_tower.num_patches + 1)
    return (4 * frozen + 6 * adapters) * samples.tokens + attention * pairs + 2 * tower * images


def clock(device: str) -> float:
    """Reads the clock in seconds, after the GPU has finished its work."""
    import torch

    if device == 'cpu':
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def matmul_rate(device: str, dtype: str, side: int) -> float:
    """Measures floating-point operations a second of a square matrix product, best of ten."""
    import torch

    a, b = (torch.randn(side, side, device=device, dtype=getattr(torch, dtype)) for _ in 'ab')
    seconds = []
    for _ in range(10):
        start = clock(device)
        a @ b
        seconds.append(clock(device) - start)
    return 2 * side**3 / min(seconds)


def rounds(steps: dict[str, Callable], batches: list[Samples], device: str) -> Iterator[tuple]:
    """(side, seconds, peak bytes above what lay there) of each batch, the sides in turn."""
    import torch

    for batch in batches:
        for side, step in steps.items():
            if device != 'cpu':
                torch.cuda.reset_peak_memory_stats()
            start = clock(device)
            step(batch)
            seconds = clock(device) - start
            peak = 0 if device == 'cpu' else torch.cuda.max_memory_allocated()
            yield side, seconds, peak


def measure(args: argparse.Namespace, dtype: str) -> dict[str, Any]:
    """Measures the figures of a row."""
    from mmllava.training import stages

    model = build(args.size, args.device, dtype)
    theirs = build_theirs(model)
    stage = stages.read_stage(dict(train=['projector'], lora=LORA, gradient_checkpointing=True))
    stages.apply(model, stage, args.device)
    prepare_theirs(theirs)
    model.train()
    half = dtype == 'bfloat16'
    words, px = model.language.config.vocab_size, model.vision_tower.image_size
    lengths = draw_lengths((args.rounds + 1) * args.batch_size, seed=0)
    cut = range(0, len(lengths), args.batch_size)
    batches = [Samples(lengths[k : k + args.batch_size], words, px) for k in cut]
    steps = {
        'ours': stepper(model, loss_of_ours, half),
        'theirs': stepper(theirs, loss_of_theirs, half),
    }
    # The first batch warms up; its losses are those of the same weights.
    first = [step(batches[0]) for step in steps.values()]
    if not abs(first[0] - first[1]) <= LIMITS[dtype]:  # nor where one is no number
        raise Unfinished(
            f'the first losses are {first[0]} and {first[1]}, expected the same up to '
            f'{LIMITS[dtype]}: the two sides do not compute the same, and no row is written.'
        )
    # What the other side holds while it rests: weights and AdamW's two sums.
    own = {
        s: sum(p.numel() * 12 for p in m.parameters() if p.requires_grad)
        for s, m in (('ours', model), ('theirs', theirs))
    }
    seconds: dict[str, list[float]] = dict(ours=[], theirs=[])
    peaks = dict(ours=0, theirs=0)
    for side, took, peak in rounds(steps, batches[1:], args.device):
        seconds[side].append(took)
        other = own['theirs' if side == 'ours' else 'ours']
        peaks[side] = max(peaks[side], peak - other)
    tokens = [batch.tokens for batch in batches[1:]]
    rate = matmul_rate(args.device, dtype, 8192 if args.device == 'cuda' else 1024)
    needed = [flops(model, batch) for batch in batches[1:]]
    ratios = [b / a for a, b in zip(seconds['ours'], seconds['theirs'], strict=True)]
    row: dict[str, Any] = dict(
        padding=round(1 - sum(tokens) / sum(b.slots for b in batches[1:]), 3),
        matmul_tflops=round(rate / 1e12, 3),
        ratio=round(sum(seconds['theirs']) / sum(seconds['ours']), 3),
        median_ratio=round(statistics.median(ratios), 3),
        loss_difference=abs(first[0] - first[1]),
    )
    for side, took in seconds.items():
        row[side] = dict(
            tokens_per_s=round(sum(tokens) / sum(took)),
            step_s=round(statistics.median(took), 3),
            flops_share=round(sum(needed) / sum(took) / rate, 3),
            peak_gb=round(peaks[side] / 1e9, 2) if args.device == 'cuda' else None,
        )
    return row


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    parser.add_argument('--size', choices=['small', '7B'], default='small')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--batch-size', type=int, default=8, help='samples of a step')
    parser.add_argument('--rounds', type=int, default=6, help='steps of each side')
    parser.add_argument('--results', type=Path, default=RESULTS, help='file to append to')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> dict:
    import torch

    import mmllava.models.llava  # noqa: F401  the registry

    torch.manual_seed(0)
    if args.device == 'cpu':
        torch.set_num_threads(1)
    made = provenance('torch', 'transformers')  # before a row makes the tree another
    dtype = 'bfloat16' if args.device == 'cuda' else 'float32'
    figures = measure(args, dtype)
    row = dict(
        **made,
        device=torch.cuda.get_device_name() if args.device == 'cuda' else platform.machine(),
        threads=torch.get_num_threads(),
        size=args.size,
        dtype=dtype,
        batch_size=args.batch_size,
        rounds=args.rounds,
        **figures,
    )
    with open(args.results, 'a') as file:
        file.write(json.dumps(row) + '\n')
    return row


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
