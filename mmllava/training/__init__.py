"""Training: a model is trained, saved and resumed.

Floor 3. Files:

    checkpoint.py       writes and reads checkpoints: trained weights and resume state
    config_check.py     rejects an invalid config before the first step and says what to write
    config_settings.py  checks settings against a class's arguments
    distributed.py      starts several processes, on CPU too
    fsdp.py             shards one model over several processes
    generation_hook.py  asks fixed questions during training and records the answers
    hooks.py            saves before deleting, keeps the best, steps schedulers, logs speed
    inspect_data.py     measures samples: their length, and which part of it is learned
    loop.py             the training loop: one iteration is one optimizer step
    lora.py             adds LoRA adapters; the only user of PEFT
    optim.py            per-module learning rates and the warmup-cosine schedule
    resume.py           locks a work folder; decides whether a run may resume there
    rng.py              random states; evaluation that leaves the model's mode and them as they were
    runner.py           mmengine's runner: loads weights, applies the stage, builds the optimizer
    samplers.py         groups samples of one length and modality
    stages.py           freezes and trains the parts that a stage names
"""
