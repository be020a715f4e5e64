"""Reads the pickle of a PyTorch file: names and shapes of tensors, and plain data.

A pickle is a program. This reader executes the opcodes that build containers, numbers and text,
and those with which torch.save names a storage and a tensor; any other opcode, any other function
and any other type of key is refused. It calls nothing, hashes no container, and takes no more
memory than the pickle has bytes, times a constant: no memo can be made larger than what was read.
"""

import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple

from mmllava.checkpoints.storage.tensor_entry import DTYPES

__all__ = ['Dict', 'Storage', 'Tensor', 'UnknownGlobal', 'load']

STORAGES = {
    'DoubleStorage': 'float64',
    'FloatStorage': 'float32',
    'HalfStorage': 'float16',
    'BFloat16Storage': 'bfloat16',
    'LongStorage': 'int64',
    'IntStorage': 'int32',
    'ShortStorage': 'int16',
    'CharStorage': 'int8',
    'ByteStorage': 'uint8',
    'BoolStorage': 'bool',
}
_MAX_DIMS = 64  # numpy's limit; a product of a million sizes would take minutes
_KEYS = (str, int, float, bool, bytes, type(None))
_MARK = object()

_TENSOR, _PARAMETER, _SIZE, _DICT = (object() for _ in range(4))
_GLOBALS = {
    ('torch._utils', '_rebuild_tensor_v2'): _TENSOR,
    ('torch._utils', '_rebuild_parameter'): _PARAMETER,
    ('torch', 'Size'): _SIZE,
    ('collections', 'OrderedDict'): _DICT,
    **{
        (module, name): dtype
        for name, dtype in STORAGES.items()
        for module in ('torch', 'torch.storage')
    },
    **{('torch', name): name for name in DTYPES},
}


class Storage(NamedTuple):
    """A storage in the pickle: one ``data/<key>``."""

    dtype: str
    key: str
    count: int  # values, not bytes


class Tensor(NamedTuple):
    """A tensor in the pickle; ``first`` counts values, not bytes."""

    storage: Storage
    first: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Dict(dict):
    """A dict of the pickle; attributes, such as the version that torch keeps, are dropped."""


class UnknownGlobal(Exception):
    """The pickle names a function or class that is none of torch.save's for tensors."""


def load(data: bytes) -> Any:
    """Reads a pickle.

    Returns:
        What it holds: `Tensor`, `Storage`, `Dict`, list, tuple, numbers, text, bytes, None.

    Raises:
        UnknownGlobal: it names code; the message is the name.
        ValueError, IndexError, KeyError, TypeError, pickle.UnpicklingError: it is damaged, or
            no pickle of tensors and plain data.
    """
    machine = _Machine(len(data))
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == 'STOP':
            return machine.stack.pop()
        machine.run(opcode.name, argument)
    raise pickle.UnpicklingError('it has no end')


class _Machine:
    """The stack and the memo of one pickle."""

    def __init__(self, budget: int) -> None:
        self.budget = budget  # pairs that may be copied: each was in the pickle once
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Executes one opcode."""
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            self.memo[len(self.memo) if name == 'MEMOIZE' else int(argument)] = self.stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            self.stack.append(self.memo[int(argument)])
        elif name in _OPERATIONS:
            _OPERATIONS[name](self)
        elif name == 'GLOBAL':
            self.find(*argument.split(' ', 1))
        elif name not in ('PROTO', 'FRAME'):
            raise pickle.UnpicklingError(f'it has the opcode {name}, which torch.save never writes')

    def take(self) -> list[Any]:
        """Pops all down to the last mark."""
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise pickle.UnpicklingError('a mark is missing')

    def pop(self, count: int) -> list[Any]:
        """Pops so many values."""
        if len(self.stack) < count:
            raise pickle.UnpicklingError('a value is missing')
        values = self.stack[-count:]
        del self.stack[-count:]
        return values

    def find(self, module: str, name: str) -> None:
        """Pushes the stand-in of a function or class."""
        if (module, name) not in _GLOBALS:
            raise UnknownGlobal(f'{module}.{name}')
        self.stack.append(_GLOBALS[module, name])

    def append(self, values: list[Any]) -> None:
        """Appends to the list on the stack."""
        if type(self.stack[-1]) is not list:
            raise TypeError('values are appended to what is no list')
        self.stack[-1].extend(values)

    def set(self, values: list[Any]) -> None:
        """Sets keys and values of the dict on the stack."""
        if type(self.stack[-1]) is not Dict:
            raise TypeError('a key is set in what is no dict')
        self.stack[-1].update(_pairs(values))

    def reduce(self) -> None:
        """Does what torch's functions would do with their arguments."""
        function, arguments = self.pop(2)
        if type(arguments) is not tuple:
            raise TypeError('a function is called without a tuple of arguments')
        if function is _TENSOR:
            self.stack.append(_tensor(*arguments[:4]))
        elif function is _PARAMETER:  # (tensor, requires_grad, hooks)
            self.stack.append(arguments[0])
        elif function is _SIZE and len(arguments) == 1 and type(arguments[0]) in (tuple, list):
            if len(arguments[0]) > _MAX_DIMS:
                raise TypeError(f'a shape of {len(arguments[0])} sizes')
            self.stack.append(tuple(arguments[0]))
        elif function is _DICT and len(arguments) <= 1:  # Python 2 gives it a list of pairs
            pairs = arguments[0] if arguments else []
            if type(pairs) is not list or any(type(pair) not in (list, tuple) for pair in pairs):
                raise TypeError('a dict is made of what is no list of pairs')
            self.budget -= len(pairs)
            if self.budget < 0 or any(len(pair) != 2 for pair in pairs):
                raise TypeError('a dict is made of what are no pairs')
            self.stack.append(Dict(_pairs([value for pair in pairs for value in pair])))
        else:
            raise TypeError('something is called that is no function')

    def build(self) -> None:
        """Drops the attributes of a dict; nothing else has any."""
        target, _ = self.pop(2)
        if type(target) is not Dict:
            raise TypeError('attributes are set of what has none')
        self.stack.append(target)

    def persistent(self) -> None:
        """Pushes the storage that a tuple names."""
        (id_,) = self.pop(1)
        what, dtype, key, _, count = id_
        sound = what == 'storage' and type(dtype) is str and dtype in DTYPES
        if not (sound and type(key) in (str, int) and type(count) is int and count >= 0):
            raise pickle.UnpicklingError('unknown storage')
        self.stack.append(Storage(dtype, str(key)[:100], count))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """Joins keys and the values after them; a key is plain, since a container would be hashed."""
    keys = values[::2]
    for key in keys:
        if type(key) not in _KEYS:
            raise TypeError('a key of a dict is no text or number')
    return dict(zip(keys, values[1::2], strict=True))


def _tensor(storage: Any, first: Any, shape: Any, strides: Any) -> Tensor:
    """Checks the arguments of ``_rebuild_tensor_v2``."""
    if type(storage) is not Storage or type(shape) is not tuple or type(strides) is not tuple:
        raise TypeError('a tensor without a storage, a shape or strides')
    if len(shape) != len(strides) or len(shape) > _MAX_DIMS:
        raise TypeError(f'a tensor with {len(shape)} sizes and {len(strides)} strides')
    if not all(type(n) is int and 0 <= n < 2**63 for n in (first, *shape, *strides)):
        raise TypeError('a tensor with a shape, a stride or a start that is no count')
    return Tensor(storage, first, shape, strides)


#: opcodes that push their argument
_PUSHED = frozenset(
    [
        *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
        *('UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE', 'BINUNICODE8', 'STRING', 'BINSTRING'),
        *('SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8'),
    ]
)
#: opcodes that push a new value of no argument
_CONSTANTS: dict[str, Callable[[], Any]] = dict(
    MARK=lambda: _MARK,
    NONE=lambda: None,
    NEWTRUE=lambda: True,
    NEWFALSE=lambda: False,
    EMPTY_LIST=list,
    EMPTY_TUPLE=tuple,
    EMPTY_DICT=Dict,
)
#: opcodes that change the stack
_OPERATIONS: dict[str, Callable[[_Machine], Any]] = dict(
    POP=lambda m: m.pop(1),
    POP_MARK=lambda m: m.take(),
    DUP=lambda m: m.stack.append(m.stack[-1]),
    LIST=lambda m: m.stack.append(m.take()),
    TUPLE=lambda m: m.stack.append(tuple(m.take())),
    TUPLE1=lambda m: m.stack.append(tuple(m.pop(1))),
    TUPLE2=lambda m: m.stack.append(tuple(m.pop(2))),
    TUPLE3=lambda m: m.stack.append(tuple(m.pop(3))),
    DICT=lambda m: m.stack.append(Dict(_pairs(m.take()))),
    APPEND=lambda m: m.append(m.pop(1)),
    APPENDS=lambda m: m.append(m.take()),
    SETITEM=lambda m: m.set(m.pop(2)),
    SETITEMS=lambda m: m.set(m.take()),
    STACK_GLOBAL=lambda m: m.find(*m.pop(2)),
    REDUCE=_Machine.reduce,
    BUILD=_Machine.build,
    BINPERSID=_Machine.persistent,
)
