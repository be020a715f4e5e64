"""Floor 1. A stronger language model over HTTP: it writes training data and judges answers.

In: captions and boxes of pictures, or questions and answers, as text. Out: LLaVA's training
JSON, relative scores, answers to ScienceQA. The teacher never sees a picture. Any server
that speaks OpenAI's protocol will do.
"""
