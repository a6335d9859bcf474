# SPDX-License-Identifier: Apache-2.0
# sql-to-c.awk FILE... - each ledger-pg-NAME.sql as const char ledger_pg_sql_NAME[], without its comment lines.
FNR == 1 {
	if (NR > 1)
		print "\t\"\";"
	name = FILENAME
	sub(/^.*ledger-pg-/, "", name)
	sub(/\.sql$/, "", name)
	print "extern const char ledger_pg_sql_" name "[];"
	print "const char ledger_pg_sql_" name "[] ="
}
/^[ \t]*--/ { next }
{
	gsub(/\\/, "\\\\")
	gsub(/"/, "\\\"")
	gsub(/\t/, " ")
	print "\t\"" $0 "\\n\""
}
END { print "\t\"\";" }
