"""LLaVA v1.5, 7B, on mix665k: adapters and projector, beside a language model of 4 bits.

Weights: lmsys/vicuna-7b-v1.5 and the projector of llava-7b-v1.5_pretrain.
Memory:  9.9 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 340,795,392 parameters; 2e-4 at the top, 1 pass, 128 samples a step.
Source:  the recipe of llava-7b-v1.5_lora; LLaVA has QLoRA for v1 only, by the same steps.
Needs:   pip install 'mmllava[lora,quantize]'
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.5_qlora.py --launcher pytorch
"""

_base_ = ['./llava-7b-v1.5_lora.py']

model = dict(bits=4)
