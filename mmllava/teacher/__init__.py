"""Lets a stronger language model over HTTP write training data and judge answers.

Floor 1. Files:

    budget.py              limits what a run may spend
    cache.py               caches answers on disk, so that nothing is paid for twice
    cli.py                 command-line options, cost estimates, output folders
    client.py              sends many requests at a time; the only door to openai
    data_report.py         counts, lengths, frequent words, samples of the written data
    endpoint.py            the server, a request to it, and their limits
    generate.py            writes LLaVA's training JSON from image contexts
    image_context.py       reads captions and boxes, from COCO or JSON lines
    judge.py               has two answers rated: the relative score
    parse.py               parses answers as turns; rejects what is unfit for training
    prompts.py             reads instructions and examples, builds requests
    scienceqa_ensemble.py  combines a model and a text-only teacher

In: captions and boxes of images, or questions and answers, as text. Out: LLaVA's training
JSON, relative scores, answers to ScienceQA. The teacher never sees an image. Any server
that speaks OpenAI's protocol will do.
"""
