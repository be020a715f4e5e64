"""Generates tokens from any model that can embed ids and extend a cache.

Floor 1. Files:

    config.py  checks generation settings and turns them into logits processors
    loop.py    decodes a batch, greedily or by sampling, one token of each entry at a time
    stop.py    decides where an answer ends
    stream.py  yields one answer's ids, and its text in pieces that are final
"""
