/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs a fuzz target without a fuzzing engine: each file of the corpus as it is, then a fixed number of mutations of it by a generator
 * with a fixed seed. So every compiler replays the corpora and a first layer of noise as an ordinary test.
 * Usage: fuzz-x CORPUS_DIR [mutations per file] */
#include <dirent.h>
#include <fcntl.h>

#include "base/io.h"
#include "base/num.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed = 0x9e3779b97f4a7c15u;
static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* The input is handed over in a block of exactly its size, so that ASan sees the first byte beyond it. */
static void run(const char *p, size_t n)
{
	uint8_t *copy = cs_xmalloc(n);
	memcpy(copy, p, n);
	(void)LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static void mutate(const char *p, size_t n)
{
	static const char tokens[] = "{}[]\",:\\/.=-+0019 \n\t\xff\x80";
	cs_autofree char *m = cs_xmalloc(n + 64);
	size_t len = n;

	memcpy(m, p, n);
	for (uint64_t k = 1 + rnd() % 4; k; k--) {
		size_t at = len ? rnd() % len : 0;
		switch (rnd() % 5) {
		case 0:
			if (len)
				m[at] = (char)rnd();
			break;
		case 1:
			if (len)
				m[at] = tokens[rnd() % (sizeof(tokens) - 1)];
			break;
		case 2:
			len = at;
			break;
		case 3: /* drop a piece */
			if (len) {
				size_t some = rnd() % 16, cut = CS_MIN(len - at, some);
				memmove(m + at, m + at + cut, len - at - cut);
				len -= cut;
			}
			break;
		case 4: /* repeat a piece */
			if (len) {
				size_t some = rnd() % 12, part = CS_MIN(len - at, some);
				if (len + part <= n + 64) {
					memmove(m + at + part, m + at, len - at);
					len += part;
				}
			}
			break;
		}
	}
	run(m, len);
}

int main(int argc, char **argv)
{
	uint64_t rounds = 2000;
	size_t files = 0;
	struct dirent *e;

	if (argc < 2 || (argc > 2 && !cs_parse_u64(argv[2], 0, 100000000, &rounds)))
		return 2;
	DIR *d = opendir(argv[1]);
	if (!d) {
		perror(argv[1]);
		return 2;
	}
	while ((e = readdir(d))) {
		struct cs_str s = CS_STR_INIT(1 << 20);
		if (e->d_name[0] == '.' || cs_read_file_at(dirfd(d), e->d_name, &s) < 0)
			continue;
		files++;
		run(s.buf ? s.buf : "", s.len);
		for (uint64_t k = 0; k < rounds; k++)
			mutate(s.buf ? s.buf : "", s.len);
		cs_str_done(&s);
	}
	(void)closedir(d);
	if (!files) {
		fprintf(stderr, "%s: empty corpus\n", argv[1]);
		return 1;
	}
	printf("%zu inputs, %llu mutations each\n", files, (unsigned long long)rounds);
	return 0;
}
