"""A conversion job: planned from headers, streamed, resumed after a kill, verified.

Floor 1. Files:

    arithmetic.py     casts, sums, adapters and means, exact, on one BLAS thread
    compare.py        two checkpoints, tensor by tensor
    journal.py        what is written already
    manifest.py       what was written, from what; is it still so?
    prepare.py        any layout in, any out: planned and checked
    progress.py       bytes, rate, time left
    run.py            whole or not at all; goes on after a kill
    sidecar_files.py  config, tokenizer, processor of the result
    stream.py         carry out a plan, a few megabytes in memory
    verify.py         the result, computed anew
"""
