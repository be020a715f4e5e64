"""Converts conversations to token ids and labels; text only.

Floor 1. Files:

    conversation.py  converts questions and instruction JSON to turns
    encode.py        converts segments to token ids, labels and image slots
    labels.py        encodes a training sample with its labels; v0's own format
    presets.py       questions and decoding settings by name, each with its source
    render.py        writes a conversation in a template and marks the learned text
    templates.py     every chat template of LLaVA's code, as data
    tokenizer.py     the authors' tokenizer, on sentencepiece alone
"""
