"""Pure scorers: strings to scores, without Java.

Floor 1. Files:

    bleu.py             BLEU-1 to 4
    captions.py         files and dictionaries -> all scores
    cider.py            CIDEr
    java_metrics.py     METEOR and SPICE, where pycocoevalcap and Java are
    multiple_choice.py  which option an answer names
    ptb.py              the caption tokenizer (Penn Treebank)
    ptb_rules.py        Floor 1. The tokenizer's rules: what may be one token, and how it is written
    ptb_tables.py       its tables: characters, abbreviations, sentence openers
    rouge.py            ROUGE-L
    vqa.py              Short answers against those of people: VQA accuracy, and GQA's exact match
    vqa_tables.py       its tables: numbers, articles, contractions
    yes_no.py           POPE's and MME's answers, read and counted
"""
