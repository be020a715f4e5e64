"""A conversion job: planned from headers, streamed, resumed after a kill, verified.

Floor 1. Files:

    arithmetic.py     casts, sums, adapters
    blas.py           products on one thread
    compare.py        two checkpoints, tensor by tensor
    half.py           float16 sums, exact, with integers
    journal.py        what is written already
    manifest.py       what was written, from what; is it still so?
    merge.py          base + delta, by its old name
    prepare.py        any layout in, any out: planned and checked
    progress.py       bytes, rate, time left
    run.py            whole or not at all; goes on after a kill
    sidecar_files.py  config, tokenizer, processor of the result
    stream.py         carry out a plan, a few megabytes in memory
    verify.py         the result, computed anew
"""
