"""A name or a path becomes a running model.

Floor 4. Files:

    chat.py              a dialogue: turns, pictures, streaming
    inferencers.py       the caption and VQA inferencers
    load.py              an original folder -> a model, without a config
    mmpretrain_patch.py  mmpretrain's functions, made to serve our models
"""

# mmpretrain is imported before hub.py, which is called as soon as mmpretrain is there.
import mmllava.registry  # noqa: F401
