"""Long evaluation runs: the test loop, its files and reports.

Floor 5. Files:

    benchmark_config.py  puts a model into the config of a benchmark
    prediction_store.py  predictions on disk, appended as they are made
    report.py            a run as one HTML page or image
    run_metadata.py      run.json: protocol, scoring, environments
    runs.py              reads a finished run and compares two
    test_loop.py         mmengine's test loop, resumable
"""
