#!/usr/bin/env python
"""The whole first path on weights that are in the repository: merge, load, caption, draw.

  make demo

The weights are random (tests/golden holds them for exactness, not for sense), so
the caption is nonsense; with LLaVA's own weights the same lines caption pictures.
"""

import sys
from pathlib import Path

from mmllava.checkpoints import prepare_merge, write_merge

HERE = Path(__file__).parent
MODELS = HERE.parent / 'tests' / 'golden' / 'models'
PICTURE = HERE / 'cat-dog.png'


def main() -> int:
    out = HERE / 'out'
    out.mkdir(exist_ok=True)
    checkpoint = out / 'llava-random'
    merge = prepare_merge(MODELS / 'llama-base', MODELS / 'llava-v1-delta', MODELS / 'clip-tiny')
    write_merge(merge, checkpoint, overwrite=True)
    print(f'merged {len(merge.kept)} tensors into {checkpoint}')

    from mmllava import get_model, inference_model

    model = get_model(
        str(HERE / 'llava-random_caption.py'), pretrained=str(checkpoint), device='cpu'
    )
    result = inference_model(model, str(PICTURE), show_dir=out)
    print(f'{PICTURE.name}: {result}')
    print('The weights are random and so is the caption; README.md shows where to get real ones.')
    print(f'wrote {out / PICTURE.name}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
