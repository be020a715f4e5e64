#!/usr/bin/env python
"""Chats about images in a terminal.

  python demo/chat.py llava-7b-v1.5_chat CHECKPOINT demo/cat-dog.png

  # without a config: a LLaVA folder or hub id, or tiny, the model in the package
  python demo/chat.py tiny demo/cat-dog.png

Type a question; the answer is streamed, Ctrl-C ends it. An empty line or Ctrl-D leaves.

  /image PATH   adds an image to the next question
  /reset        starts a new dialogue
  /save FILE    writes the dialogue as JSON

Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / 'tools'))
from _cli import make_parser, run_tool
from _model import add_model_arguments, open_model, split_names

from mmllava.errors import ConfigError, MMLlavaError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = make_parser(__doc__)
    add_model_arguments(parser)
    parser.add_argument('--base', help='language model of a partial checkpoint (LoRA, projector)')
    parser.add_argument('--temperature', type=float, default=0.2, help='0 is greedy')
    parser.add_argument('--max-new-tokens', type=int, default=512, help='of one answer')
    parser.add_argument('--seed', type=int, help='makes sampled answers repeatable')
    return parser.parse_args(argv)


def open_session(args: argparse.Namespace) -> Any:
    import mmllava
    from mmllava.images.load import load_image

    split_names(args)
    for image in args.images:  # before the weights: a typing error costs no minute
        load_image(image)
    if args.base and args.checkpoint is None:
        raise ConfigError('--base goes with a config and a CHECKPOINT, not with a LLaVA folder.')
    options = dict(lang_encoder=dict(pretrained=args.base)) if args.base else {}
    model = open_model(args, 'chat', options)
    return mmllava.ChatSession(
        model, seed=args.seed, temperature=args.temperature, max_new_tokens=args.max_new_tokens
    )


def answer(chat: Any, question: str, images: list[str]) -> None:
    """Prints the answer as it comes; Ctrl-C ends it and keeps what was generated."""
    stream = chat.stream(question, images)
    try:
        for piece in stream:
            print(piece, end='', flush=True)
    except KeyboardInterrupt:
        stream.close()
    print()


def talk(chat: Any, images: list[str], read: Callable[[str], str] = input) -> None:
    """Runs the dialogue; an error is printed, and the dialogue goes on."""
    from mmllava.images.load import load_image

    while True:
        try:
            line = read('> ').strip()
        except EOFError:
            return
        command, _, rest = line.partition(' ')
        try:
            if not line:
                return
            if command == '/image':
                load_image(rest)
                images = [*images, rest]
            elif command == '/reset':
                chat.reset()
                images = []
            elif command == '/save':
                chat.save(rest or 'dialogue.json')
                print(f'wrote {rest or "dialogue.json"}')
            elif command.startswith('/'):
                print(f'{command} is not one of /image PATH, /reset, /save FILE')
            else:
                answer(chat, line, images)
                images = []
        except BrokenPipeError:
            raise
        except (MMLlavaError, OSError) as error:
            print(error, file=sys.stderr)


def run(args: argparse.Namespace) -> None:
    talk(open_session(args), list(args.images))


def main(argv: list[str] | None = None) -> int:
    return run_tool(__file__, parse_args, run, argv)


if __name__ == '__main__':
    sys.exit(main())
