/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of ledger.h: one ledger at a time, named l, with a clock that stands still until
 * pass() is called. Events are letters: id, content and digest are made of one. Failures end the
 * test.
 */
#ifndef EVFS_TESTS_LEDGER_HARNESS_H
#define EVFS_TESTS_LEDGER_HARNESS_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "ledger/ledger.h"

#define UUID "01890a5d-ac96-774b-bcce-b302099a8057"
#define SECOND INT64_C(1000000)

extern int64_t wall_us;
extern struct ledger_faults faults;
extern struct ledger *l;

/* Is the server there that the tests need? */
bool ledger_is_there(void);
int ledger_backends(void); /* 0: the ledger itself, 1: wrapped by ledger_fault */
bool ledger_can_be_alone(void);
TCase *ledger_reseed_cases(void);
TCase *ledger_horizon_cases(void);
TCase *ledger_order_cases(void);
#ifdef TEST_PG
struct pg_server *ledger_server(void);
#endif

/* An empty ledger, seeded; complete unless `young`. */
void open_ledger(int i, bool young);
void reopen(void);
void close_ledger(void);
void pass(int64_t us);

/*
 * What a read told, as text: "1=a 2=b? 3~2 …", ? unsettled, n~span a void, s:last/settled for a
 * stream.
 */
struct told {
	char text[1000];
	size_t n, stop_after;
	struct ledger_row last;
};

struct claims {
	char text[1000];
	enum rc answer;
	bool late;
	unsigned attempts;
};
extern struct ledger_reseed reseeded;
extern struct claims claims;

struct ledger_event event(char letter);
struct ledger_append batch(const char *id, struct ledger_event *events, size_t n);
enum rc append(struct ledger_append *a);
uint64_t add(const char *id, char letter);
enum rc add_expect(const char *id, char letter, uint64_t expect);
bool take(void *arg, const struct ledger_row *row);
const char *ask(const struct ledger_query *q);
const char *rows_after(const char *id, uint64_t after);
const char *rows(const char *id);
int64_t handle(const char *id);
void settle(const char *id, uint64_t number, char letter);
struct ledger_object object(uint64_t number, char letter);
uint64_t seed(bool other_line);
enum rc reseed_after(const char *id, uint64_t seeding, uint64_t after, const char *objects);
void reseed(const char *id, uint64_t seeding, const char *objects);
enum rc take_claim(void *arg, const struct ledger_pending *row);
const char *claim(size_t max, uint64_t lease_ms, bool all);

#endif
