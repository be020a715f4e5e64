"""Models for other people's evaluation harnesses.

Floor 5. Files:

    batched.py    answers many questions in batches
    lmms_eval.py  the model for lmms-eval
    vlmeval.py    the model for VLMEvalKit
"""
