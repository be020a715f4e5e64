"""Conversion jobs: planned from headers, streamed, resumed after a kill, verified.

Floor 1. Files:

    arithmetic.py     computes casts, sums, adapters and means, exactly, on one BLAS thread
    compare.py        compares two checkpoints, tensor by tensor
    journal.py        records what is written so that a killed conversion can resume
    manifest.py       writes and checks the manifest: sources, outputs, checksums
    prepare.py        plans and checks a conversion between any two layouts
    progress.py       shows bytes, rate and time left
    run.py            writes a conversion atomically; resumes a killed one
    sidecar_files.py  makes config, tokenizer and processor files of the result
    stream.py         executes a plan with a few megabytes in memory
    verify.py         recomputes the result and compares it with what was written
"""
