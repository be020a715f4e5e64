"""Invented images in words, and teachers that write about them."""

import json

ROWS = [
    dict(
        id=str(n),
        image=f'{n}.png',
        captions=[f'A {thing} on a table.', f'There is a {thing} in the room.'],
        instances=[
            dict(category=thing, bbox=[0.1, 0.25, 0.5, 0.123]),
            dict(category='table', bbox=[0, 0.5, 1, 1]),
        ],
    )
    for n, thing in enumerate(['cat', 'lamp', 'vase', 'book'])
]


def write_lines(file, rows):
    file.write_text(''.join(json.dumps(row) + '\n' for row in rows))
    return file


def write_pictures(folder):
    return write_lines(folder / 'images.jsonl', ROWS)


def dialogue(*turns):
    """Turns in the form that a recipe asks for."""
    return '\n===\n'.join(f'Question:\n{q}\n===\nAnswer:\n{a}' for q, a in turns) + '\n===\n'
