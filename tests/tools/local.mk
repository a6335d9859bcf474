TESTS += %D%/test-evfsctl
EXTRA_DIST += %D%/test-evfsctl
