/* SPDX-License-Identifier: Apache-2.0 */
#include "base/oom.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/io.h"
#include "base/num.h"
#include "base/str.h"

#define OOM_SCORE "/proc/self/oom_score_adj"

static int least = -1000;

static bool may_set(int score)
{
	char text[16];

	(void)snprintf(text, sizeof(text), "%d", score);
	return cs_write_file_at(AT_FDCWD, OOM_SCORE, text, strlen(text)) == 0;
}

static void find_least(void)
{
	cs_autostr struct cs_str text = CS_STR_INIT(64);
	int64_t now;

	if (cs_read_file_at(AT_FDCWD, OOM_SCORE, &text) < 0 || !text.buf)
		return;
	text.buf[strcspn(text.buf, "\n")] = 0;
	if (!cs_parse_i64(text.buf, -1000, 1000, &now) || may_set(-1000)) {
		(void)may_set((int)now);
		return;
	}
	int no = -1000, yes = (int)now;
	while (yes - no > 1) {
		int middle = no + (yes - no) / 2;
		*(may_set(middle) ? &yes : &no) = middle;
	}
	(void)may_set((int)now);
	least = yes;
}

int cs_oom_score_least(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, find_least);
	return least;
}
