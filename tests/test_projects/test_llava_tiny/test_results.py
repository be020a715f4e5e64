"""The figures that are told are those of the newest rows."""

import json
import re

from tests.conftest import ROOT

ROWS = [
    json.loads(line)
    for line in (ROOT / 'tools/benchmark/results/tiny.jsonl').read_text().splitlines()
]
TOLD = (ROOT / 'configs/tiny/README.md').read_text()


def percent(value):
    return f'{100 * value:.1f} %'


def test_the_figures_of_the_table_are_those_of_the_newest_row():
    row = [row for row in ROWS if 'vqa' in row][-1]
    assert row['scenes'] == 1000 and row['questions'] == 2000 and row['talks'] == 200
    assert row['checkpoint'] == 'package' and not row['commit'].endswith('+')
    lines = dict(re.findall(r'^\| ([^|]+?) \| ([^|]+?) \|$', TOLD, re.M))
    assert lines['every thing right in a caption'] == percent(row['captions']['right'])
    assert lines['the same, of held-out combinations'] == percent(row['held_out']['right'])
    assert lines['questions'] == percent(row['vqa']['all'])
    for kind in ('count', 'color', 'position', 'yes/no'):
        assert lines[f'questions: {kind}'] == percent(row['vqa'][kind])
    assert lines['questions, black images'] == percent(row['vqa_blind']['all'])
    assert lines['dialogues of three turns'] == percent(row['chat']['three_turns'])
    assert lines['dialogues: a second image told apart'] == percent(row['chat']['second_picture'])
    assert lines['seconds per caption'] == f'{row["caption_s"]:.2f}'


def test_what_is_told_of_the_new_colour_is_in_the_newest_row():
    row = [row for row in ROWS if 'train_s' in row][-1]
    lines = dict(re.findall(r'^\| ([^|]+?) \| ([^|]+?) \|$', TOLD, re.M))
    assert lines['scenes with brown, before and after'] == (
        f'{percent(row["before"]["new"])}, {percent(row["after"]["new"])}'
    )
    assert lines['scenes without, before and after'] == (
        f'{percent(row["before"]["old"])}, {percent(row["after"]["old"])}'
    )
