"""Records what pycocoevalcap gives for the texts in this folder; see README.md."""

import json
from pathlib import Path

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

HERE = Path(__file__).parent


def record_tokens(path: Path) -> None:
    texts = [json.loads(line)['text'] for line in path.read_text().splitlines()]
    words = PTBTokenizer().tokenize({n: [dict(caption=t)] for n, t in enumerate(texts)})
    rows = [dict(text=text, tokens=words[n][0]) for n, text in enumerate(texts)]
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows))


def record_scores(path: Path) -> None:
    content = json.loads(path.read_text())
    own, said = {}, {}
    for row in content['annotations']:
        own.setdefault(row['image_id'], []).append(row)
    for row in content['predictions']:
        said[row['image_id']] = [row]
    own, said = PTBTokenizer().tokenize(own), PTBTokenizer().tokenize(said)
    bleu, bleus = Bleu(4).compute_score(own, said, verbose=0)
    columns = {f'Bleu_{n + 1}': (bleu[n], bleus[n]) for n in range(4)}
    columns['ROUGE_L'] = Rouge().compute_score(own, said)
    columns['CIDEr'] = Cider().compute_score(own, said)
    content['corpus'] = {name: float(total) for name, (total, _) in columns.items()}
    content['per_image'] = {name: list(map(float, each)) for name, (_, each) in columns.items()}
    path.write_text(json.dumps(content, indent=1) + '\n')


if __name__ == '__main__':
    record_tokens(HERE / 'tokens.jsonl')
    record_scores(HERE / 'scores.json')
