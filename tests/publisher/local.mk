publisher_tests = %D%/test-publisher
TESTS += $(publisher_tests)
EXTRA_DIST += $(publisher_tests) %D%/delivered.py
