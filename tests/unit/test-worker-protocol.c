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

static uint16_t fixed; /* as the sender has it */

static size_t make(uint32_t type, const void *body, size_t len)
{
	struct cs_w_header h = {CS_W_MAGIC, type, 7, 0, fixed};

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
	} x = {.a = {.id = "abc", .streams = {.want_stdout = 1, .framed = 1}, .detach_len = 2, .input_len = 3, .since = 42}, .tail = {16, 17, 'x', 'y', 'z'}};
	size_t body = sizeof(x.a) + 5;

	(void)state;
	fixed = 0;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_LIST, NULL, 0), 0, &r, &why), 0);
	assert_int_equal(r.h.seq, 7);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_LIST, NULL, 0), 1, &r, &why), -EINVAL);
	fixed = sizeof(x.a);
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
	fixed = 0;
	/* header */
	for (size_t n = 0; n < sizeof(struct cs_w_header); n++)
		assert_int_equal(cs_packet_decode(packet, n, 0, &r, &why), -EBADMSG);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_NONE, NULL, 0), 0, &r, &why), -ENOSYS);
	assert_int_equal(cs_packet_decode(packet, make(0x7f, NULL, 0), 0, &r, &why), -ENOSYS);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_STARTED, NULL, 0), 0, &r, &why), -ENOSYS);
	packet[0] ^= 1;
	assert_int_equal(cs_packet_decode(packet, 16, 0, &r, &why), -EBADMSG);
}

/* The same message as three releases send it: without what came later, as we do, and with what we do not know yet. */
static void test_versions(void **state)
{
	struct cs_w_attach a = {.id = "abc", .streams = {.want_stdout = 1}, .detach_len = 2, .input_len = 1, .since = 42, .token = 9};
	struct cs_w_hello_request hello = {.protocol = 7, .protocol_min = 1};
	struct cs_w_request r;
	const char *why;
	uint8_t body[256];

	(void)state;
	for (size_t len = CS_W_ATTACH_V1; len <= sizeof(a) + 40; len += 8) {
		memset(body, 0xee, sizeof(body));
		memcpy(body, &a, CS_MIN(len, sizeof(a)));
		memcpy(body + len, "\x10\x11z", 3);
		for (fixed = len == CS_W_ATTACH_V1 ? 0 : (uint16_t)len; fixed <= len; fixed += (uint16_t)len) {
			assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, body, len + 3), 1, &r, &why), 0);
			assert_int_equal(r.since, 42);
			assert_int_equal(r.token, len >= sizeof(a) ? 9 : 0);
			assert_memory_equal(r.detach, "\x10\x11", 2);
			assert_memory_equal(r.input, "z", 1);
		}
	}
	/* a struct shorter than the first release's, or than the header says */
	fixed = CS_W_ATTACH_V1 - 8;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, body, sizeof(a)), 1, &r, &why), -EINVAL);
	fixed = UINT16_MAX;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_ATTACH, body, sizeof(a)), 1, &r, &why), -EINVAL);
	/* what version 1 sent with HELLO says nothing */
	fixed = 0;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_HELLO, &hello, sizeof(hello)), 0, &r, &why), 0);
	assert_int_equal(r.protocol, 1);
	fixed = sizeof(hello);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_HELLO, &hello, sizeof(hello)), 0, &r, &why), 0);
	assert_int_equal(r.protocol, 7);
	fixed = 0;
}

static void test_follow(void **state)
{
	struct {
		struct cs_w_follow f;
		uint8_t tail[8];
	} x = {.f = {.want_stdout = 1, .timestamps = 1, .details_len = 3, .ino = 5, .offset = 77, .until = 3}, .tail = "a=b"};
	struct cs_w_request r;
	const char *why;

	(void)state;
	fixed = sizeof(x.f);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_FOLLOW, &x, sizeof(x.f) + 3), 2, &r, &why), 0);
	assert_int_equal(r.follow.offset, 77);
	assert_memory_equal(r.details, "a=b", 3);
	for (size_t n = 0; n < 4; n++)
		if (n != 2)
			assert_int_equal(cs_packet_decode(packet, make(CS_W_FOLLOW, &x, sizeof(x.f) + 3), n, &r, &why), -EINVAL);
	assert_int_equal(cs_packet_decode(packet, make(CS_W_FOLLOW, &x, sizeof(x.f) + 2), 2, &r, &why), -EINVAL);
	x.f.offset = -1;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_FOLLOW, &x, sizeof(x.f) + 3), 2, &r, &why), -EINVAL);
	x.f.offset = 0;
	x.f.details_len = CS_PACKET_DETAILS_MAX + 1;
	assert_int_equal(cs_packet_decode(packet, make(CS_W_FOLLOW, &x, sizeof(x.f) + 3), 2, &r, &why), -EINVAL);
	x.f.details_len = 3;
	x.f.id[0] = 'x'; /* an exec has no log */
	assert_int_equal(cs_packet_decode(packet, make(CS_W_FOLLOW, &x, sizeof(x.f) + 3), 2, &r, &why), -EINVAL);
	fixed = 0;
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
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_follow),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_frame),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
