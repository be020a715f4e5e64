"""LLaVA v1.0, 13B (lightning preview), on VQAv2.

Weights: liuhaotian/llava-llama-2-13b-chat-lightning-preview, used as it is.
Memory:  weights alone 26.6 GB in float16, 53.3 GB in float32.
Run:     python tools/test.py configs/llava/llava-13b-llama2_vqa.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_13b_llama2.py',
    '../_base_/datasets/vqav2.py',
]

model = dict(task='vqa', preset='vqa_short')
_base_.test_dataloader.dataset.pipeline[1].update(_base_.resize)
