"""A conversation becomes token ids and labels; text only.

Floor 1. Files:

    conversation.py  questions and instruction JSON, as turns
    encode.py        segments -> ids, labels, image slots
    labels.py        what each template learns of a sample
    presets.py       what to ask and how to decode, each with its source
    render.py        a conversation, written as a template says
    templates.py     every template of LLaVA's code, as data
    tokenizer.py     the authors' tokenizer, by sentencepiece alone
"""
