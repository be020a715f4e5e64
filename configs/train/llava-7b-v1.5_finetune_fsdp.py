"""LLaVA v1.5, 7B, on mix665k, shared out over eight processes: fits eight GPUs of 40 GB.

Weights: lmsys/vicuna-7b-v1.5 and the projector of llava-7b-v1.5_pretrain.
Memory:  13.6 GB a process for weights, gradients and AdamW (computed), and activations.
Trained: 6,759,395,328 parameters; 2e-5 at the top, 1 pass, 128 samples a step.
Source:  scripts/v1_5/finetune.sh of LLaVA, which shares out by DeepSpeed's ZeRO-3.
Run:     torchrun --nproc_per_node 8 tools/train.py \\
             configs/train/llava-7b-v1.5_finetune_fsdp.py --launcher pytorch
"""

_base_ = ['./llava-7b-v1.5_finetune.py', '../_base_/strategies/zero3.py']
