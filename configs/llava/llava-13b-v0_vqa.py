"""LLaVA v0, 13B, on VQAv2.

Weights: liuhaotian/LLaVA-13b-delta-v0, a delta to LLaMA-1:
         tools/model_converters/llava-delta2mmpre.py merges the two.
Memory:  weights alone 26.6 GB in float16, 53.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-13b-v0_vqa.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_13b_v0.py',
    '../_base_/datasets/vqav2.py',
]

model = dict(task='vqa', preset='vqa_short')
_base_.test_dataloader.dataset.pipeline[1].update(_base_.resize)
