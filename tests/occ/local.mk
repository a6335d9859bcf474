TESTS += %D%/test-occ %D%/test-occ-s3 %D%/test-planted
EXTRA_DIST += %D%/test-occ %D%/test-occ-s3 %D%/test-planted %D%/occ_history.py %D%/workload.py
