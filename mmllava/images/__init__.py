"""Loads images and prepares them for CLIP.

Floor 1. Files:

    annotate.py  draws an image with its caption below
    anyres.py    v1.6: selects the grid, cuts tiles, crops the padding of features
    clip.py      crops (v1) or pads (v1.5) to the square that CLIP takes
    fetch.py     reads http(s) addresses and data URIs, within a deadline and a size
    load.py      decodes paths, addresses, bytes and arrays to RGB
"""
