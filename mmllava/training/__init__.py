"""A model is trained.

Floor 3. Files:

    checkpoint.py       a checkpoint: what was trained, and what resuming needs
    config_check.py     before the first step: what cannot work is refused, with what to write
    config_settings.py  settings against what a class takes
    distributed.py      several processes without a GPU
    fsdp.py             one model shared out over processes
    generation_hook.py  fixed questions, asked again and again while it learns
    hooks.py            new checkpoints before old ones go, the best one; schedulers; speed
    inspect_data.py     how long a sample is, and what of it is learned
    loop.py             one iteration is one optimizer step
    lora.py             adapters; the only door to PEFT
    optim.py            rates: of each part, and over time
    resume.py           whether a run may go on from it
    rng.py              what leaves no trace in training
    runner.py           mmengine's runner: weights, stage, optimizer, in this order
    samplers.py         samples of one length and modality side by side
    stages.py           what learns and what is frozen
"""
