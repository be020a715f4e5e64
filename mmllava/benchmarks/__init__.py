"""A benchmark's files become questions, and its answers become scores.

Floor 3. Files:

    answer_files.py         answers that others wrote
    captions.py             COCO, NoCaps, Flickr30k
    check_images.py         are the pictures there and whole?
    coco_caption_metric.py  the metric as mmengine runs it
    dataset.py              as mmengine's loops take it
    files.py                annotation files, read with care
    metric.py               its scores, as mmengine runs them
    multiple_choice.py      MMBench, SEED-Bench
    open_ended.py           MM-Vet, LLaVA-Bench
    per_sample.py           what each sample contributed
    protocols.py            how each is asked, by whom, as data
    registry.py             the sets, by name
    scienceqa.py            ScienceQA
    scores.py               means, over all and by group
    submission.py           the file that a server takes
    types.py                what all are made of
    vqa.py                  VQAv2, OK-VQA, VizWiz, TextVQA, GQA
    yes_no.py               POPE, MME
"""

from mmllava.benchmarks.dataset import BenchmarkDataset
from mmllava.benchmarks.metric import BenchmarkMetric

__all__ = ['BenchmarkDataset', 'BenchmarkMetric']
