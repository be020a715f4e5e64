"""ZeRO-3: each process holds its share of weights, gradients and AdamW's sums.

A block of the language model is gathered when it runs, and once more for its backward pass.
"""

strategy = dict(type='FSDP')
