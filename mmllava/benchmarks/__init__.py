"""Reads the files of benchmarks as questions, and scores their answers.

Floor 3. Files:

    answer_files.py     reads answers that any program wrote
    captions.py         COCO, NoCaps, Flickr30k
    check_images.py     decodes every image of a benchmark once
    dataset.py          a benchmark as a dataset of mmengine
    files.py            checks annotation files record by record
    metric.py           the scorers as metrics of mmengine
    multiple_choice.py  MMBench, SEED-Bench
    open_ended.py       MM-Vet, LLaVA-Bench
    protocols.py        prompts and decoding settings of every benchmark, as data
    registry.py         all benchmarks by name
    scienceqa.py        ScienceQA
    scores.py           means over all, by group and per sample
    submission.py       writes the files that servers and judges take
    types.py            the item and the benchmark
    vqa.py              VQAv2, OK-VQA, VizWiz, TextVQA, GQA
    yes_no.py           POPE, MME

The files of a family of benchmarks (captions, multiple_choice, open_ended, scienceqa, vqa,
yes_no) each export a table, ``BENCHMARKS``; a new benchmark is a new entry of one.
"""

from mmllava.benchmarks.dataset import BenchmarkDataset
from mmllava.benchmarks.metric import BenchmarkMetric

__all__ = ['BenchmarkDataset', 'BenchmarkMetric']
