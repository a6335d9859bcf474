TESTS += %D%/test-crash
EXTRA_DIST += %D%/test-crash %D%/run %D%/harness.py %D%/history.py %D%/place.py %D%/scenario.py %D%/writer.py
