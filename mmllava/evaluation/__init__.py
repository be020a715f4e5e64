"""Long evaluation runs: the test loop, its files, its reports.

Floor 5. Files:

    benchmark_config.py  a benchmark's config and a model's become one
    prediction_store.py  predictions on disk, appended as they come
    report.py            a run as one page
    run_metadata.py      protocol cards: how a score came about
    runs.py              a finished run; what tells two apart
    test_loop.py         the test loop that survives a kill
"""
