check_PROGRAMS += %D%/proxy
TESTS += %D%/test-proxy
EXTRA_DIST += %D%/test-proxy %D%/proxy.py %D%/servers.py
