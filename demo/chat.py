#!/usr/bin/env python
"""Talks about pictures in a terminal.

  python demo/chat.py llava-7b-v1.5_chat CHECKPOINT demo/cat-dog.png

Type a question; the answer is streamed, Ctrl-C ends it. An empty line or Ctrl-D leaves.

  /image PATH   shows another picture with the next question
  /reset        begins a new dialogue
  /save FILE    writes the dialogue as JSON

Exit status: 0 done, 2 refused (the reason is on stderr).
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from mmllava.errors import MMLlavaError


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='name or config file')
    parser.add_argument('checkpoint', help='weight file, folder, or hub id')
    parser.add_argument('image', nargs='*', help='pictures of the first question')
    parser.add_argument('--device', help='cpu, cuda, cuda:1; default: a GPU if there is one')
    parser.add_argument('--dtype', help='float32, float16, bfloat16; default: by device')
    parser.add_argument('--base', help='language model, for a checkpoint that holds changes to it')
    parser.add_argument('--temperature', type=float, default=0.2, help='0 is greedy')
    parser.add_argument('--max-new-tokens', type=int, default=512, help='of one answer')
    parser.add_argument('--seed', type=int, help='makes sampled answers repeatable')
    return parser.parse_args(argv)


def open_session(args: argparse.Namespace) -> Any:
    import torch

    import mmllava
    from mmllava.images.load import load_image

    for picture in args.image:  # before the weights: a typing error costs no minute
        load_image(picture)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    options = dict(dtype=args.dtype) if args.dtype else {}
    if args.base:
        options['lang_encoder'] = dict(pretrained=args.base)
    model = mmllava.get_model(args.config, pretrained=args.checkpoint, device=device, **options)
    return mmllava.ChatSession(
        model, seed=args.seed, temperature=args.temperature, max_new_tokens=args.max_new_tokens
    )


def answer(chat: Any, question: str, images: list[str]) -> None:
    """Prints the answer as it comes; Ctrl-C ends it and keeps what was said."""
    stream = chat.stream(question, images)
    try:
        for piece in stream:
            print(piece, end='', flush=True)
    except KeyboardInterrupt:
        stream.close()
    print()


def talk(chat: Any, images: list[str], read: Callable[[str], str] = input) -> None:
    """The dialogue; an error is printed, and the dialogue goes on."""
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
        except (MMLlavaError, OSError) as error:
            print(error, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        talk(open_session(args), list(args.image))
    except (MMLlavaError, OSError, ValueError) as error:  # mmpretrain's, for an unknown name
        print(f'chat: {error}', file=sys.stderr)
        return 2
    return 0


if __name__ == '__main__':
    sys.exit(main())
