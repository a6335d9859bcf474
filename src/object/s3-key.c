/* SPDX-License-Identifier: Apache-2.0 */
/* s3-key.c - one set of credentials, in somebody's hands. */
#include "config.h"
#include "object/s3-cred.h"

#include "object/s3-cred-private.h"

void s3_key_release(struct s3_key *k)
{
	s3_cred_wipe(&k->access);
	s3_cred_wipe(&k->secret);
	s3_cred_wipe(&k->token);
}
