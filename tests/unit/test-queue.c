/* SPDX-License-Identifier: Apache-2.0
 *
 * base/queue: every byte arrives once and in order, whatever the sizes; ends and closes wake the other side. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/queue.h"

#define TOTAL (3u << 20)

static unsigned char pattern(size_t i) { return (unsigned char)(i * 2654435761u >> 13); }

static void *fill(void *arg)
{
	struct cs_queue *q = arg;
	unsigned char buf[5000];
	size_t i = 0, step = 1;

	while (i < TOTAL) {
		size_t n = step < TOTAL - i ? step : TOTAL - i;
		for (size_t k = 0; k < n; k++)
			buf[k] = pattern(i + k);
		if (cs_queue_write(q, buf, n) < 0)
			return (void *)1;
		i += n;
		step = step * 7 % 4999 + 1;
	}
	cs_queue_end(q, 0);
	return NULL;
}

static void drain(struct cs_queue *q, int polled)
{
	unsigned char buf[3001];
	size_t i = 0;

	for (;;) {
		ssize_t n = polled ? cs_queue_try_read(q, buf, sizeof(buf)) : cs_queue_read(q, buf, sizeof(buf));
		if (n == -EAGAIN) {
			struct pollfd p = {.fd = cs_queue_pollfd(q), .events = POLLIN};
			assert_int_equal(poll(&p, 1, 20000), 1);
			continue;
		}
		assert_true(n >= 0);
		if (n == 0)
			break;
		for (ssize_t k = 0; k < n; k++)
			assert_int_equal(buf[k], pattern(i + (size_t)k));
		i += (size_t)n;
	}
	assert_int_equal(i, TOTAL);
}

static void test_order(void **state)
{
	for (int polled = 0; polled < 2; polled++) {
		struct cs_queue *q = cs_queue_new(4096);
		pthread_t t;
		void *r;
		assert_int_equal(pthread_create(&t, NULL, fill, q), 0);
		drain(q, polled);
		assert_int_equal(pthread_join(t, &r), 0);
		assert_null(r);
		cs_queue_free(q);
	}
}

static void test_close_wakes_writer(void **state)
{
	struct cs_queue *q = cs_queue_new(64);
	pthread_t t;
	void *r;
	char b[10];

	assert_int_equal(pthread_create(&t, NULL, fill, q), 0);
	assert_true(cs_queue_read(q, b, sizeof(b)) > 0);
	cs_queue_close(q);
	assert_int_equal(pthread_join(t, &r), 0);
	assert_ptr_equal(r, (void *)1);
	cs_queue_free(q);
}

/* In batches the reader sleeps until there is enough, and still gets the rest at the end. */
static void test_batch(void **state)
{
	struct cs_queue *q = cs_queue_new(4096);
	struct pollfd p = {.fd = cs_queue_pollfd(q), .events = POLLIN};
	char b[4096];
	pthread_t t;
	void *r;

	cs_queue_batch(q, 1024);
	assert_int_equal(cs_queue_write(q, b, 1000), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(cs_queue_write(q, b, 24), 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(cs_queue_try_read(q, b, sizeof(b)), 1024);
	assert_int_equal(cs_queue_write(q, b, 3), 0);
	assert_int_equal(poll(&p, 1, 0), 0);
	cs_queue_end(q, 0);
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(cs_queue_try_read(q, b, sizeof(b)), 3);
	assert_int_equal(cs_queue_try_read(q, b, sizeof(b)), 0);
	cs_queue_free(q);
	for (int polled = 0; polled < 2; polled++) {
		q = cs_queue_new(8192);
		cs_queue_batch(q, 4096);
		assert_int_equal(pthread_create(&t, NULL, fill, q), 0);
		drain(q, polled);
		assert_int_equal(pthread_join(t, &r), 0);
		cs_queue_free(q);
	}
}

static void test_error_after_data(void **state)
{
	struct cs_queue *q = cs_queue_new(64);
	char b[64];

	assert_int_equal(cs_queue_try_read(q, b, sizeof(b)), -EAGAIN);
	assert_int_equal(cs_queue_write(q, "abc", 3), 0);
	cs_queue_end(q, -EIO);
	assert_int_equal(cs_queue_read(q, b, sizeof(b)), 3);
	assert_int_equal(cs_queue_read(q, b, sizeof(b)), -EIO);
	assert_int_equal(cs_queue_try_read(q, b, sizeof(b)), -EIO);
	cs_queue_free(q);
}

static void test_offer(void **state)
{
	struct cs_queue *q = cs_queue_new(8);
	char b[8];

	assert_int_equal(cs_queue_offer(q, "abcde", 5), 0);
	assert_int_equal(cs_queue_offer(q, "fghi", 4), -EAGAIN); /* nothing of it, and nobody waits */
	assert_int_equal(cs_queue_offer(q, "fgh", 3), 0);
	assert_int_equal(cs_queue_offer(q, "x", 1), -EAGAIN);
	assert_int_equal(cs_queue_read(q, b, 4), 4);
	assert_int_equal(cs_queue_offer(q, "1234", 4), 0); /* around the end of the ring */
	assert_int_equal(cs_queue_read(q, b, 4), 4);
	assert_int_equal(cs_queue_read(q, b + 4, 4), 4);
	assert_memory_equal(b, "efgh1234", 8);
	cs_queue_close(q);
	assert_int_equal(cs_queue_offer(q, "x", 1), -EPIPE);
	cs_queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_order), cmocka_unit_test(test_close_wakes_writer), cmocka_unit_test(test_batch), cmocka_unit_test(test_error_after_data), cmocka_unit_test(test_offer)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
