"""Runs a tool: its parser, its exit status, its last line, and --cfg-options.

A tool is a file whose docstring is its --help. Each imports this one after it has added tools/
to the path, so that it starts as a script from anywhere, installed under mmllava/.mim too:

    sys.path.append(str(Path(__file__).parents[1]))
    from _cli import make_parser, run_tool
"""

import argparse
import json
import os
import select
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmllava.errors import ConfigError, MMLlavaError

# Configs of projects/ import their own packages, which are not installed.
sys.path.append(str(Path(__file__).parents[1]))

#: exit statuses; those above 128 are what a shell reports for SIGINT and SIGPIPE
DONE, UNFINISHED, REFUSED, STOPPED, CLOSED_PIPE = 0, 1, 2, 130, 141

Parse = Callable[[list[str] | None], argparse.Namespace]
Run = Callable[[argparse.Namespace], int | Mapping[str, Any] | tuple[int, Mapping[str, Any]] | None]


class Unfinished(Exception):
    """Error of work that is incomplete, exit status 1; the message says why."""


def make_parser(description: str, **options: Any) -> argparse.ArgumentParser:
    """Builds a parser that prints a tool's docstring as it is written."""
    return argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **options,
    )


def run_tool(
    file: str,
    parse_args: Parse,
    run: Run,
    argv: list[str] | None = None,
    stopped: str | Callable[[argparse.Namespace], str] = 'stopped',
) -> int:
    """Runs a tool and turns its errors into a message on stderr and an exit status.

    Args:
        file: of the tool; messages begin with its name.
        parse_args: command line -> arguments; exits with 2 by itself.
        run: arguments -> exit status (None: 0), the object of the last line, or both.
        argv: command line, by default that of the process.
        stopped: state after Ctrl-C, for the message.

    Returns:
        0 done, 1 unfinished, 2 refused, 130 stopped, 141 stdout was closed by its reader;
        or what ``run`` returned.
    """
    name = Path(file).stem
    if hasattr(sys.stdout, 'reconfigure'):  # a terminal that is not UTF-8 gets \u escapes
        sys.stdout.reconfigure(errors='backslashreplace')
    args = parse_args(argv)
    try:
        outcome = run(args)
        status, last = outcome if isinstance(outcome, tuple) else (outcome, None)
        if isinstance(status, Mapping):
            status, last = DONE, status
        if last is not None:
            print(json.dumps(last))
        sys.stdout.flush()
        return status or DONE
    except Unfinished as error:
        print(f'{name}: {error}', file=sys.stderr)
        return UNFINISHED
    except MMLlavaError as error:
        print(f'{name}: {error}', file=sys.stderr)
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _stdout_is_closed():
            # Python flushes stdout once more when it ends, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return CLOSED_PIPE
        print(f'{name}: {_explain(error)} Check the path.', file=sys.stderr)
    except KeyboardInterrupt:
        state = stopped(args) if callable(stopped) else stopped
        print(f'{name}: {state}', file=sys.stderr)
        return STOPPED
    return REFUSED


def _explain(error: OSError) -> str:
    if error.filename is None or error.strerror is None:
        return f'{error}.'
    return f'{error.filename}: {error.strerror}.'


def _stdout_is_closed() -> bool:
    """Returns whether the reader of the pipe behind stdout has gone."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def add_cfg_options(parser: argparse.ArgumentParser, help: str = 'change the config') -> None:
    """Adds --cfg-options KEY=VALUE ...; given twice, both count, the later one for equal keys."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        type=_key_value,
        metavar='KEY=VALUE',
        help=help,
    )


def _key_value(text: str) -> str:
    if not text.partition('=')[0].strip() or '=' not in text:
        raise argparse.ArgumentTypeError(f'{text!r} is not KEY=VALUE')
    return text


def parse_cfg_options(pairs: list[str]) -> dict[str, Any]:
    """Parses KEY=VALUE pairs as mmengine does: dotted key -> number, list, string or None."""
    from mmengine.config import DictAction

    if not pairs:
        return {}
    parser = argparse.ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction)
    return parser.parse_args(['--cfg-options', *pairs]).cfg_options


def merge_options(cfg: Any, options: Mapping[str, Any]) -> None:
    """Merges parsed options into a config.

    Raises:
        ConfigError: a key leads through something that has no keys.
    """
    try:
        cfg.merge_from_dict(dict(options))
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f'--cfg-options {" ".join(options)} do not fit the config: {error}. Check each key '
            'against the config.'
        ) from error


def read_config(path: str, pairs: list[str], ours: str) -> Any:
    """Reads a config file and merges the command line's --cfg-options into it.

    Args:
        path: of the config file.
        pairs: ``args.cfg_options``.
        ours: page that lists the configs of this repository.

    Raises:
        ConfigError: there is no such file, or an option does not fit.
    """
    from mmengine.config import Config

    if not Path(path).is_file():
        raise ConfigError(f'no config file at {path}; {ours} lists ours.')
    cfg = Config.fromfile(path)
    merge_options(cfg, parse_cfg_options(pairs))
    return cfg
