"""The layouts of LLaVA checkpoints: how each is recognised, read and written.

Floor 1. Files:

    delta.py           base + delta and a tower, planned; a wrong base is refused
    from_canonical.py  the original's names -> a layout
    hf_config.py       LLaVA's config.json <-> that of transformers' Llava and LlavaNext
    hf_processor.py    the files of transformers' processor: image settings and chat template
    hf_tokenizer.py    The authors' tokenizer.model as a tokenizer.json, for transformers' processor
    identify.py        which layout is this? by tensor names, never a folder's name
    keymaps.py         what a tensor is called in each layout; the way back is derived
    llava_files.py     the configs and tokenizer files next to the weights
    lora.py            LoRA and projectors, onto their base
    mmpretrain_vit.py  the tower in mmpretrain's names
    partial.py         what tools/train.py trained beside a base, and which base
    sentencepiece.py   reads tokenizer.model without sentencepiece
    tensor_plan.py     a plan: what each tensor of a result is made of
    tied.py            a head that is the token embedding
    to_canonical.py    a layout -> the original's names
    validate.py        is a model whole, do its parts belong together?
"""
