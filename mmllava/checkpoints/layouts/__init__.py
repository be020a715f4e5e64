"""Layouts of LLaVA checkpoints: how each is recognised, read and written.

Floor 1. Files:

    config_schema.py   reads config.json and checks its values before anything is built
    delta.py           plans base + delta and a tower; refuses a wrong base
    from_canonical.py  renames from the original's names to a layout
    hf_config.py       translates LLaVA's config.json to and from transformers' Llava and LlavaNext
    hf_processor.py    writes transformers' processor files: image settings and chat template
    hf_tokenizer.py    writes the authors' tokenizer.model as a tokenizer.json
    identify.py        recognises a layout by tensor names and config.json, a delta by its last norm
    keymaps.py         tables of tensor names in each layout; the inverse is derived
    llava_files.py     reads and completes configs and tokenizer files next to the weights
    lora.py            merges LoRA adapters and projectors into their base
    mmpretrain_vit.py  renames the tower to and from mmpretrain's names
    partial.py         reads a training checkpoint of trained tensors alone; names its base
    tensor_plan.py     the plan of each tensor of a result
    tied.py            ties a head to the token embedding
    to_canonical.py    renames from a layout to the original's names; the way in for all
    validate.py        checks that a model is complete and that its parts fit
"""
