TESTS += %D%/test-services
EXTRA_DIST += %D%/README %D%/services.sh %D%/up %D%/down %D%/one %D%/stop %D%/test-services
