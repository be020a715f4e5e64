"""Fuzzers: inputs changed at random are answered or refused, never a traceback, a hang or a flood.

MMLLAVA_FUZZ_SEED and MMLLAVA_FUZZ_COUNT choose other inputs and more of them:

    MMLLAVA_FUZZ_SEED=7 MMLLAVA_FUZZ_COUNT=5000 python -m pytest tests/test_fuzz
"""
