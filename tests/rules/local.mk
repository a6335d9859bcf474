rules = %D%/layers %D%/names %D%/heads %D%/docs %D%/metrics %D%/units %D%/self-test
TESTS += $(rules)
EXTRA_DIST += $(rules)
