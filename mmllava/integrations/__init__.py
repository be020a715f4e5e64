"""Models for other people's evaluation harnesses.

Floor 5. Files:

    batched.py    many questions to one model, as other programs ask them
    lmms_eval.py  a model for lmms-eval
    vlmeval.py    a model for VLMEvalKit
"""
