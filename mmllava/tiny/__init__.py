"""Floor 3. A small drawn world, and a LLaVA that was trained on it from nothing.

Scenes of one to four things in colours, on something, come from a seed (`scenes`); they are
drawn (`draw`), described and asked about (`sentences`), written as data sets (`sets`), and
what a model says of them is compared with what is there (`facts`). The model needs `WEIGHTS`
alone.
"""

from pathlib import Path

#: the model's folder: weights, tokenizer, config.json, card
WEIGHTS = Path(__file__).parent / 'weights'
