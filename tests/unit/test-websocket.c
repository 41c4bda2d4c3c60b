/* SPDX-License-Identifier: Apache-2.0
 *
 * api/websocket.c: frame headers, masks, and the bridge over socket pairs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/socket.h>

#include "api/call.h"
#include "api/websocket.h"
#include "base/io.h"

static int parse(const char *hex, struct cs_ws_frame *f)
{
	uint8_t b[64];
	size_t n = 0;

	for (; *hex; hex += 2) {
		char two[3] = { hex[0], hex[1], 0 };
		unsigned v = 0;
		assert_int_equal(sscanf(two, "%2x", &v), 1);
		b[n++] = (uint8_t)v;
	}
	return cs_ws_parse(b, n, f);
}

static void test_parse(void **state)
{
	struct cs_ws_frame f;

	assert_int_equal(parse("", &f), 0);
	assert_int_equal(parse("82", &f), 0);
	assert_int_equal(parse("8285010203", &f), 0);
	assert_int_equal(parse("828501020304", &f), 1);
	assert_true(f.fin && f.opcode == WS_BINARY && f.len == 5 && f.header_len == 6 && f.mask[3] == 4);
	assert_int_equal(parse("02fe007e01020304", &f), 1);
	assert_true(!f.fin && f.len == 126 && f.header_len == 8);
	assert_int_equal(parse("82ff000000000001000001020304", &f), 1);
	assert_true(f.len == 65536 && f.header_len == 14);
	assert_int_equal(parse("8205", &f), -1002);                         /* not masked */
	assert_int_equal(parse("c285", &f), -1002);                         /* reserved bit */
	assert_int_equal(parse("8385", &f), -1002);                         /* unknown opcode */
	assert_int_equal(parse("8b85", &f), -1002);
	assert_int_equal(parse("0985", &f), -1002);                         /* fragmented control */
	assert_int_equal(parse("89fe", &f), -1002);                         /* long control */
	assert_int_equal(parse("82fe007d01020304", &f), -1002);             /* not the shortest form */
	assert_int_equal(parse("82ff000000000000ffff01020304", &f), -1002);
	assert_int_equal(parse("82ff800000000000000001020304", &f), -1002); /* top bit */
	assert_int_equal(parse("82ff000000000100000101020304", &f), -1009); /* beyond the limit */
}

static void test_format(void **state)
{
	static const uint64_t lens[] = { 0, 125, 126, 65535, 65536, 1u << 20 };

	for (size_t i = 0; i < CS_ARRAY_SIZE(lens); i++) {
		uint8_t b[WS_HEADER_MAX] = { 0 };
		struct cs_ws_frame f;
		size_t n = cs_ws_format(b, WS_TEXT, lens[i]);
		b[1] |= 0x80; /* as if a client had sent it: room for the mask must be there */
		assert_true(n + 4 <= sizeof(b));
		assert_int_equal(cs_ws_parse(b, n + 4, &f), 1);
		assert_true(f.len == lens[i] && f.fin && f.opcode == WS_TEXT);
	}
}

static void test_accept(void **state)
{
	cs_autofree char *a = cs_ws_accept("dGhlIHNhbXBsZSBub25jZQ=="); /* RFC 6455, 1.3 */

	assert_string_equal(a, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

struct pair {
	int client, stream;
	const void *input;
	size_t len;
};

static void *run(void *arg)
{
	struct pair *p = arg;

	cs_ws_bridge(p->client, p->stream, p->input, p->len, true);
	cs_close(p->client);
	cs_close(p->stream);
	return NULL;
}

static void expect(int fd, const void *data, size_t n)
{
	uint8_t b[256];

	assert_true(n <= sizeof(b));
	assert_int_equal(cs_read_full(fd, b, n), n);
	assert_memory_equal(b, data, n);
}

static void test_bridge(void **state)
{
	int c[2], s[2];
	pthread_t t;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, c), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	/* mask 0: the payload is readable. "ab" came with the handshake, half a frame of "cd" too */
	struct pair p = { c[1], s[1], "\x82\x82\0\0\0\0ab\x02\x82\0\0", 12 };
	assert_int_equal(pthread_create(&t, NULL, run, &p), 0);
	expect(s[0], "ab", 2);
	assert_int_equal(cs_write_full(c[0], "\0\0cd\x89\x81\0\0\0\0p\x80\x82\0\0\0\0ef", 19), 0); /* a ping between fragments */
	expect(s[0], "cdef", 4);
	expect(c[0], "\x8a\x01p", 3);
	assert_int_equal(cs_write_full(s[0], "out", 3), 0);
	expect(c[0], "\x82\x03out", 5);
	assert_int_equal(cs_write_full(c[0], "\x80\x81\0\0\0\0x", 7), 0); /* continues nothing */
	expect(c[0], "\x88\x02\x03\xea", 4);
	pthread_join(t, NULL);
	assert_int_equal(recv(s[0], &p, 1, 0), 0);
	cs_close(c[0]);
	cs_close(s[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse), cmocka_unit_test(test_format), cmocka_unit_test(test_accept),
					    cmocka_unit_test(test_bridge) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
