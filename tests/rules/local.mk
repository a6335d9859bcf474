rules = %D%/layers %D%/names %D%/heads %D%/docs %D%/self-test
TESTS += $(rules)
EXTRA_DIST += $(rules)
