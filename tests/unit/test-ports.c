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

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_again), cmocka_unit_test(test_stranger)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
