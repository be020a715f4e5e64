"""Computes scores from strings, in pure Python and without Java.

Floor 1. Files:

    bleu.py             BLEU-1 to 4
    captions.py         reads COCO caption files, computes all caption scores
    cider.py            CIDEr
    java_metrics.py     METEOR and SPICE, with Java and pycocoevalcap
    multiple_choice.py  extracts the option that an answer names
    ptb.py              the caption tokenizer (Penn Treebank)
    ptb_rules.py        its rules: patterns of tokens, and how each is written
    ptb_tables.py       its tables: characters, abbreviations, sentence openers
    rouge.py            ROUGE-L
    vqa.py              normalises short answers; VQA accuracy, GQA's exact match
    vqa_tables.py       its tables: numbers, articles, contractions
    yes_no.py           reads and counts the answers of POPE and MME
"""
