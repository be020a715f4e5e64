"""A stronger language model over HTTP writes training data and judges answers.

Floor 1. Files:

    budget.py              what a run may spend
    cache.py               answers on disk: nothing is paid for twice
    cli.py                 what every tool that asks takes on its command line
    client.py              many requests at a time; the only door to openai
    data_report.py         counts, lengths, words, samples
    endpoint.py            where it is, what one request says, what it may cost
    files.py               read with reasons, written whole or not at all
    generate.py            images in words -> training JSON
    image_context.py       captions and boxes, from COCO or JSON lines
    judge.py               two answers rated: the relative score
    parse.py               what was written, as turns; what is unfit to learn from
    prompts.py             instructions and examples, from files
    scienceqa_ensemble.py  a model and a text-only teacher together

In: captions and boxes of images, or questions and answers, as text. Out: LLaVA's training
JSON, relative scores, answers to ScienceQA. The teacher never sees an image. Any server
that speaks OpenAI's protocol will do.
"""
