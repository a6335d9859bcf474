publisher_tests = %D%/test-publisher %D%/test-holes
TESTS += $(publisher_tests)
EXTRA_DIST += $(publisher_tests) %D%/delivered.py
TESTS += %D%/test-kill-cycles
EXTRA_DIST += %D%/test-kill-cycles %D%/run %D%/broker.py %D%/delivery.py %D%/process.py %D%/publication.py
TESTS += %D%/test-publisher-metrics
EXTRA_DIST += %D%/test-publisher-metrics
