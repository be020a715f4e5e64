"""LLaVA v1.5, 13B, on mix665k: tunes adapters and projector, with the language model in 4 bits.

Weights: lmsys/vicuna-13b-v1.5 and the projector of llava-13b-v1.5_pretrain.
Memory:  16.3 GB per process for weights, gradients and AdamW (computed), plus activations.
Trained: 532,162,560 parameters; peak rate 2e-4; 1 epoch, 128 samples per step.
Source:  the recipe of llava-13b-v1.5_lora; LLaVA has QLoRA for v1 only, with the same steps.
Needs:   pip install 'mmllava[lora,quantize]'
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-13b-v1.5_qlora.py --launcher pytorch
"""

_base_ = ['./llava-13b-v1.5_lora.py']

model = dict(bits=4)
