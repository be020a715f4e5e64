"""Decodes every image of a benchmark once, to find missing and broken ones before a long run."""

import os
from collections.abc import Sequence

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmllava.benchmarks.types import Item
from mmllava.errors import ImageError
from mmllava.images.load import load_image

#: kind of finding -> what it means
KINDS = {
    'missing': 'no image at its path',
    'broken': 'an image that cannot be decoded',
}
Finding = dict[str, str]


class UniqueImages(Dataset):
    """Every image of a benchmark once, with the first item that shows it."""

    def __init__(self, items: Sequence[Item]) -> None:
        first: dict[str | bytes, Item] = {}
        for item in items:
            if item.image is not None:
                first.setdefault(item.image, item)
        self.items = list(first.values())

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Finding | None:
        item = self.items[index]
        try:
            load_image(item.image)
        except ImageError as error:
            exists = isinstance(item.image, bytes) or os.path.exists(item.image)
            kind = 'broken' if exists else 'missing'
            return dict(where=f'question {item.id!r}', kind=kind, message=str(error))
        return None


def check_images(items: Sequence[Item], workers: int = 0) -> tuple[int, list[Finding]]:
    """Decodes every image once.

    Returns:
        the number of images, and a finding for each missing or broken one.
    """
    images = UniqueImages(items)
    loader = DataLoader(images, batch_size=None, num_workers=workers)
    findings = list(tqdm(loader, total=len(images), unit='img', disable=None))
    return len(images), [finding for finding in findings if finding is not None]
