"""Prompts: a conversation becomes token ids and labels; text only.

Floor 1. Files:

    conversation.py  turns questions and instruction JSON into turns
    encode.py        turns segments into token ids, labels and image slots
    labels.py        encodes a training sample with its labels; v0's own format
    presets.py       what to ask and how to decode, each with its source
    render.py        writes a conversation as its template says and marks what is learned
    templates.py     every chat template of LLaVA's code, as data
    tokenizer.py     the authors' tokenizer, by sentencepiece alone
"""
