/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "publisher/publisher.h"

int main(void)
{
	return 1;
}
