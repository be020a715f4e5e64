"""Bytes become pixels.

Floor 1. Files:

    annotate.py  an image with its caption below
    anyres.py    v1.6: which grid, which tiles, what to keep
    clip.py      crop (v1) or pad (v1.5) to the square that CLIP sees
    fetch.py     http(s) addresses and data URIs -> bytes, within a deadline and a size
    load.py      path, address, bytes, array -> RGB
"""
