"""LLaVA v1.6, 34B, to talk to. Its test set is VQAv2, answered in sentences.

Weights: liuhaotian/llava-v1.6-34b:
         the folder as it is.
Memory:  weights alone 69.5 GB in float16, 139.0 GB in float32.
Score:   not measured yet: configs/llava/README.md.
Run:     python tools/test.py configs/llava/llava-34b-v1.6_chat.py CHECKPOINT
"""

_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/models/llava_34b_v1.6.py',
    '../_base_/datasets/vqav2_336_anyres.py',
]

model = dict(task='vqa', preset='vqa_open')
