"""Floor 4. A name or a path becomes a running model."""

# mmpretrain is imported before hub.py, which is called as soon as mmpretrain is there.
import mmllava.registry  # noqa: F401
