"""Keys and values of prompts, shared by later prompts that begin alike."""

from collections.abc import Hashable, Iterator, Sequence

from mmllava.generation.slots import Layers


class Node:
    """Stretch of positions after its parent's, with their keys and values."""

    def __init__(self, keys: tuple[Hashable, ...], layers: Layers) -> None:
        self.keys, self.layers = keys, layers
        self.children: dict[Hashable, Node] = {}
        self.used = 0

    @property
    def nbytes(self) -> int:
        """Bytes of its keys and values."""
        return sum(t.nbytes for layer in self.layers for t in layer)


class PrefixStore:
    """Tree of prompts: what two of them begin with is held once.

    Args:
        budget: bytes; the leaf that was not used for longest goes first.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.nbytes = budget, 0
        self._clock = 0
        self._root = Node((), [])

    def find(self, keys: Sequence[Hashable]) -> list[Layers]:
        """Returns keys and values of the longest beginning of ``keys`` that is held, in parts."""
        parts = []
        for node, count in self._walk(keys):
            parts.append([(k[:, :count], v[:, :count]) for k, v in node.layers])
        return parts

    def missing_from(self, keys: Sequence[Hashable]) -> int:
        """Returns the first position of ``keys`` that is not held."""
        return sum(count for _, count in self._walk(keys))

    def add(self, keys: Sequence[Hashable], layers: Layers) -> None:
        """Holds a prompt; ``layers`` are of the positions from `missing_from` on."""
        parent, start = self._root, 0
        for node, count in self._walk(keys):
            if count < len(node.keys):
                self._split(node, count)
            parent, start = node, start + count
        tail = tuple(keys[start:])
        if not tail:
            return
        node = parent.children[tail[0]] = Node(tail, layers)
        node.used = self._clock
        self.nbytes += node.nbytes
        self.shrink(self.budget)

    def shrink(self, budget: int) -> None:
        """Removes leaves until at most ``budget`` bytes are held."""
        while self.nbytes > budget:
            parent, leaf = min(self._leaves(self._root), key=lambda pair: pair[1].used)
            del parent.children[leaf.keys[0]]
            self.nbytes -= leaf.nbytes

    def clear(self) -> None:
        """Removes everything."""
        self._root, self.nbytes = Node((), []), 0

    def _walk(self, keys: Sequence[Hashable]) -> Iterator[tuple[Node, int]]:
        """Yields the nodes along ``keys``, each with the number of its positions that are equal."""
        self._clock += 1
        node, start = self._root, 0
        while start < len(keys) and keys[start] in node.children:
            node = node.children[keys[start]]
            node.used = self._clock
            pairs = zip(node.keys, keys[start:], strict=False)
            count = next(
                (k for k, (a, b) in enumerate(pairs) if a != b),
                min(len(node.keys), len(keys) - start),
            )
            yield node, count
            if count < len(node.keys):
                return
            start += count

    def _split(self, node: Node, count: int) -> None:
        """Cuts a node in two; each half has memory of its own, so that either can go."""
        rest = Node(
            node.keys[count:],
            [(k[:, count:].clone(), v[:, count:].clone()) for k, v in node.layers],
        )
        rest.children, rest.used = node.children, node.used
        node.layers = [(k[:, :count].clone(), v[:, :count].clone()) for k, v in node.layers]
        node.keys, node.children = node.keys[:count], {rest.keys[0]: rest}

    def _leaves(self, node: Node) -> Iterator[tuple[Node, Node]]:
        for child in node.children.values():
            if child.children:
                yield from self._leaves(child)
            else:
                yield node, child
