"""Generates tokens from any model that can embed ids and extend a cache.

Floor 1. Files:

    engine.py    answers requests that join and leave at any step
    request.py   a request of the engine, its answer and its handle
    slots.py     keys and values of the requests that are being answered
    prefixes.py  keys and values of prompts, shared by prompts that begin alike
    sampling.py  chooses one request's next token
    config.py    checks generation settings and turns them into logits processors
    loop.py      decodes a batch, greedily or by sampling, one token of each entry at a time
    stop.py      decides where an answer ends
    stream.py    yields one answer's ids, and its text in pieces that are final
"""
