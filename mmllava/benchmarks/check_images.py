"""A benchmark looked through before a model is asked: are its pictures there and whole?"""

import os
from collections.abc import Sequence

from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from mmllava.benchmarks.types import Item
from mmllava.errors import ImageError
from mmllava.images.load import load_image

#: kind of finding -> what it means
KINDS = {
    'missing': 'no picture at its path',
    'broken': 'a picture that cannot be decoded',
}
Finding = dict[str, str]


class Pictures(Dataset):
    """Each picture of a set once, with the item that it first belongs to."""

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
            there = isinstance(item.image, bytes) or os.path.exists(item.image)
            kind = 'broken' if there else 'missing'
            return dict(where=f'question {item.id!r}', kind=kind, message=str(error))
        return None


def check_images(items: Sequence[Item], workers: int = 0) -> tuple[int, list[Finding]]:
    """Decodes every picture once.

    Returns:
        how many there are, and what is wrong with some.
    """
    pictures = Pictures(items)
    loader = DataLoader(pictures, batch_size=None, num_workers=workers)
    found = list(tqdm(loader, total=len(pictures), unit='img', disable=None))
    return len(pictures), [finding for finding in found if finding is not None]
