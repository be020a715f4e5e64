"""Captions at toy size: the recorded v1 model of tests/golden, with random weights.

Weights: tools/model_converters/llava-delta2mmpre.py on tests/golden/models/llama-base and
         tests/golden/models/llava-v1-delta, as demo/demo.py does.
Memory:  nothing to speak of: 180,000 parameters.
Run:     make demo
"""

_base_ = ['../configs/llava/llava-7b-v1_caption.py']

folder = '{{ fileDirname }}/../tests/golden/models'
model = dict(
    tokenizer=dict(name_or_path=f'{folder}/llava-v1-delta'),
    vision_encoder=dict(
        _delete_=True, type='mmllava.CLIPVisionTower', name_or_path=f'{folder}/clip-tiny'
    ),
    lang_encoder=dict(
        _delete_=True, type='mmllava.LanguageModel', name_or_path=f'{folder}/llava-v1-delta'
    ),
    generation_cfg=dict(max_new_tokens=24),  # it would never stop by itself
)
test_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        pipeline=[
            dict(type='mmllava.LoadImage', on_error='record'),
            dict(type='mmllava.CLIPResize', size=56, aspect='square'),
            dict(type='mmpretrain.PackInputs', meta_keys=['image_id', 'img_path', 'error']),
        ]
    ),
)
