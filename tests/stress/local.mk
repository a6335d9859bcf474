TESTS += %D%/test-occ
EXTRA_DIST += %D%/test-occ %D%/occ_history.py
