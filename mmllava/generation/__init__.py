"""Tokens come one by one: settings, loop, stopping, streaming.

Floor 1. Files:

    config.py  what a user may set for a generation
    decode.py  floor 3: token by token, to stream and to stop
"""
