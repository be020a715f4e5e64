"""ZeRO-3: each process holds its shard of weights, gradients and AdamW's moments.

A block of the language model is gathered when it runs, and again for its backward pass.
"""

strategy = dict(type='FSDP')
