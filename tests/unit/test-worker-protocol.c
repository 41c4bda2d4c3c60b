/* SPDX-License-Identifier: Apache-2.0
 *
 * worker/: request packets, detach keys, stream framing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "worker/detach.h"
#include "worker/frame.h"
#include "worker/packet.h"

static uint8_t packet[512];

static size_t make(uint32_t type, const void *body, size_t len)
{
	struct cs_w_header h = {CS_W_MAGIC, type, 7, 0};

	memcpy(packet, &h, sizeof(h));
	if (len)
		memcpy(packet + sizeof(h), body, len);
	return sizeof(h) + len;
}

static void test_packets(void **state)
{
	struct cs_w_request r;
	const char *why;
	struct {
		struct cs_w_attach a;
		uint8_t tail[16];
	} x = {.a = {.id = "abc", .want_stdout = 1, .framed = 1, .detach_len = 2, .input_len = 3, .since = 42}, .tail = {16, 17, 'x', 'y', 'z'}};
	size_t body = sizeof(x.a) + 5;

	(void)state;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_LIST, NULL, 0), 0, &r, &why), 0);
	assert_int_equal(r.h.seq, 7);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_LIST, NULL, 0), 1, &r, &why), -EINVAL);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, &x, body), 1, &r, &why), 0);
	assert_string_equal(r.id, "abc");
	assert_true(r.want_stdout && r.framed && !r.want_stdin);
	assert_int_equal(r.detach_len, 2);
	assert_int_equal(r.since, 42);
	assert_memory_equal(r.input, "xyz", 3);
	/* every shorter and every longer packet is refused */
	for (size_t n = 0; n < body + 8; n++)
		if (n != body)
			assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, &x, n), 1, &r, &why), -EINVAL);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, &x, body), 0, &r, &why), -EINVAL);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, &x, body), 2, &r, &why), -EINVAL);
	x.a.detach_len = UINT32_MAX;
	x.a.input_len = 6; /* the sum wraps around to the right length */
	assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, &x, body), 1, &r, &why), -EINVAL);
	/* header */
	for (size_t n = 0; n < sizeof(struct cs_w_header); n++)
		assert_int_equal(cs_packet_decode(packet, n, 0, &r, &why), -EBADMSG);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_NONE, NULL, 0), 0, &r, &why), -ENOSYS);
	assert_int_equal(cs_packet_decode(packet, make(0x7f, NULL, 0), 0, &r, &why), -ENOSYS);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_STARTED, NULL, 0), 0, &r, &why), -ENOSYS);
	packet[0] ^= 1;
	assert_int_equal(cs_packet_decode(packet, 16, 0, &r, &why), -EBADMSG);
}

static void test_ids(void **state)
{
	struct cs_w_signal s = {.id = "a", .sig = 9};
	struct cs_w_exec x = {.id = ""};
	struct cs_w_request r;
	const char *why;

	(void)state;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_SIGNAL, &s, sizeof(s)), 0, &r, &why), 0);
	assert_int_equal(r.sig, 9);
	s.sig = 65;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_SIGNAL, &s, sizeof(s)), 0, &r, &why), -EINVAL);
	s.sig = 9;
	memset(s.id, 'a', sizeof(s.id));
	assert_int_equal(cs_packet_decode(packet, make(CS_W_SIGNAL, &s, sizeof(s)), 0, &r, &why), -EINVAL);
	s.id[64] = 0;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_SIGNAL, &s, sizeof(s)), 0, &r, &why), 0);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_EXEC, &x, sizeof(x)), 1, &r, &why), -EINVAL);
	assert_true(cs_packet_id_ok("0af.-_Z"));
	assert_false(cs_packet_id_ok("../x"));
	assert_false(cs_packet_id_ok("a/b"));
	assert_false(cs_packet_id_ok(".hidden"));
}

static void test_detach(void **state)
{
	static const struct {
		const char *keys, *in, *out;
		bool detached;
	} cases[] = {
		{"\x10\x11", "plain", "plain", false},
		{"\x10\x11", "ab\x10\x11zz", "ab", true},
		{"\x10\x11", "\x10\x10\x11", "\x10", true},
		{"\x10\x11", "a\x10" "b\x11", "a\x10" "b\x11", false},
		{"\x10\x11", "a\x10", "a\x10", false},
		{"a", "xyaz", "xy", true},
		{"aab", "aaab", "a", true},
		{"aab", "aac", "aac", false},
		{"abac", "ababac", "ab", true},
		{"", "anything", "anything", false},
	};

	(void)state;
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].in);
		for (size_t step = 1; step <= len; step++) { /* across all packet borders */
			struct cs_detach d = {.len = (uint8_t)strlen(cases[i].keys)};
			uint8_t out[256];
			size_t n = 0, got;
			bool detached = false;
			memcpy(d.key, cases[i].keys, d.len);
			for (size_t at = 0; at < len && !detached; at += step) {
				detached = cs_detach_feed(&d, (const uint8_t *)cases[i].in + at, CS_MIN(step, len - at), out + n, &got);
				n += got;
			}
			if (!detached)
				n += cs_detach_flush(&d, out + n);
			assert_int_equal(detached, cases[i].detached);
			assert_int_equal(n, strlen(cases[i].out));
			assert_memory_equal(out, cases[i].out, n);
		}
	}
}

static void test_frame(void **state)
{
	uint8_t h[CS_FRAME_HEADER];

	(void)state;
	cs_frame_header(h, 2, 0x01020304);
	assert_memory_equal(h, "\2\0\0\0\1\2\3\4", 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_frame),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
