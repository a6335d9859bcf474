TESTS += %D%/test-crash %D%/test-crash-s3 %D%/test-restored-ledger
EXTRA_DIST += %D%/test-crash %D%/run %D%/harness.py %D%/test-crash-s3 %D%/test-restored-ledger %D%/history.py %D%/place.py %D%/remote.py %D%/scenario.py %D%/writer.py
