"""Shows a conversion's progress in a terminal: bytes, rate, time left; peak memory at the end."""

import sys
import time
from pathlib import Path


class Progress:
    """Bytes done, rate and time left, on stderr: a bar on a terminal, else a line now and then.

    Args:
        name: of the program, before each line.
        total_bytes: of all that will come.
    """

    def __init__(self, name: str, total_bytes: int) -> None:
        self.name, self.total = name, total_bytes
        self.done = 0
        self.start = self.shown = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.every_s = 0.2 if self.terminal else 30.0

    def __call__(self, nbytes: int) -> None:
        self.done += nbytes
        now = time.monotonic()
        if now - self.shown < self.every_s or not self.done:  # no rate yet, no time left
            return
        self.shown = now
        rate = self.done / (now - self.start)
        text = (
            f'{self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB, {rate / 1e6:.0f} MB/s, '
            f'{(self.total - self.done) / rate:.0f} s left'
        )
        if self.terminal:
            bar = ('#' * int(30 * self.done / max(self.total, 1))).ljust(30, '.')
            print(f'\r[{bar}] {text}  ', end='', file=sys.stderr, flush=True)
        else:
            print(f'{self.name}: {text}', file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar's line."""
        if self.terminal:
            print(file=sys.stderr)


def peak_rss_mb() -> float | None:
    """Largest resident size so far, in MB; None where there is no /proc.

    Not getrusage: its figure is inherited from the process that started this one.
    """
    status = Path('/proc/self/status')
    if not status.exists():
        return None
    lines = dict(line.split(':', 1) for line in status.read_text().splitlines())
    return round(int(lines['VmHWM'].split()[0]) * 1024 / 1e6, 1)
