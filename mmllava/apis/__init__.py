"""A name or a path becomes a running model.

Floor 4. Files:

    chat.py              a dialogue about images: several turns, streamed
    inferencers.py       mmpretrain's caption and VQA inferencers for LLaVA
    load.py              a checkpoint folder -> a model, without a config
    mmpretrain_patch.py  the patches with which mmpretrain's functions serve our models
"""

# Imports mmpretrain, whose import calls mmpretrain_patch.apply. Were mmpretrain_patch imported
# first, it would be called half way through its own imports.
import mmllava.registry  # noqa: F401
