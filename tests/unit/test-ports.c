/* SPDX-License-Identifier: Apache-2.0 */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "network/ports.h"

static struct cs_port_request request(const struct cs_fw_addr *a, uint16_t port)
{
	return (struct cs_port_request){.proto = IPPROTO_TCP, .addrs = a, .n_addrs = 1, .first = port, .last = port};
}

/* A port that was let go can be held again at once. */
static void test_again(void **state)
{
	struct cs_fw_addr a = {.family = AF_INET, .v4 = {htonl(INADDR_LOOPBACK)}};
	struct cs_port_request any = request(&a, 0);
	struct cs_port_hold *h = NULL, *second = NULL;
	struct cs_err *err = NULL;

	assert_int_equal(cs_port_hold(&any, &h, NULL), 0);
	struct cs_port_request same = request(&a, cs_port_hold_number(h));
	assert_int_equal(cs_port_hold(&same, &second, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_CONFLICT);
	cs_err_free(err);
	cs_port_release(h);
	assert_int_equal(cs_port_hold(&same, &second, NULL), 0);
	cs_port_release(second);
}

/* A stranger's listener is never taken for ours. */
static void test_stranger(void **state)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(in);
	struct cs_fw_addr a = {.family = AF_INET, .v4 = in.sin_addr};
	struct cs_port_hold *h = NULL;
	struct cs_err *err = NULL;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&in, len), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	struct cs_port_request r = request(&a, ntohs(in.sin_port));
	assert_int_equal(cs_port_hold(&r, &h, &err), -1);
	assert_int_equal(cs_err_code(err), CS_ERR_CONFLICT);
	cs_err_free(err);
	(void)close(fd);
}

static bool is_free(const struct cs_fw_addr *a, uint16_t port, const void *by)
{
	struct cs_port_request r = request(a, port);
	struct cs_port_hold *h = NULL;

	r.by = by;
	if (cs_port_hold(&r, &h, NULL) < 0)
		return false;
	cs_port_release(h);
	return true;
}

/* One number on several addresses becomes two reservations. */
static void test_split(void **state)
{
	struct cs_fw_addr a[3] = {{.family = AF_INET, .v4 = {htonl(INADDR_LOOPBACK)}}, {.family = AF_INET, .v4 = {htonl(INADDR_LOOPBACK + 1)}}, {.family = AF_INET6, .v6 = IN6ADDR_LOOPBACK_INIT}};
	struct cs_port_request r = {.proto = IPPROTO_TCP, .addrs = a, .n_addrs = 3, .apart = true};
	struct cs_port_hold *h = NULL, *rest;

	assert_int_equal(cs_port_hold(&r, &h, NULL), 0);
	uint16_t port = cs_port_hold_number(h);
	rest = cs_port_split(h, 1);
	assert_int_equal(cs_port_hold_number(rest), port);
	for (size_t i = 0; i < 3; i++)
		assert_false(is_free(&a[i], port, NULL));
	cs_port_release(h);
	assert_true(is_free(&a[0], port, NULL));
	assert_false(is_free(&a[1], port, NULL));
	assert_false(is_free(&a[2], port, NULL));
	cs_port_release(rest);
	assert_true(is_free(&a[1], port, NULL));
	assert_true(is_free(&a[2], port, NULL));
}

/* What is suspended only those may have for whom it is. */
static void test_suspend(void **state)
{
	struct cs_fw_addr a = {.family = AF_INET, .v4 = {htonl(INADDR_LOOPBACK)}}, all = {.family = AF_INET};
	struct cs_port_request any = request(&a, 0);
	struct cs_port_hold *h = NULL, *other = NULL;
	int me, you;

	assert_int_equal(cs_port_hold(&any, &h, NULL), 0);
	uint16_t port = cs_port_hold_number(h);
	cs_port_suspend(h, &me);
	assert_false(is_free(&a, port, NULL));
	assert_false(is_free(&all, port, &you));
	assert_true(is_free(&a, port, &me));
	assert_true(is_free(&all, port, &me));
	assert_int_equal(cs_port_resume(h, NULL), 0);
	assert_false(is_free(&a, port, &me));
	cs_port_suspend(h, &me);
	struct cs_port_request mine = request(&all, port);
	mine.by = &me;
	assert_int_equal(cs_port_hold(&mine, &other, NULL), 0);
	cs_port_release(h); /* in its place */
	assert_false(is_free(&a, port, &me));
	cs_port_release(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_again), cmocka_unit_test(test_stranger), cmocka_unit_test(test_split), cmocka_unit_test(test_suspend)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
