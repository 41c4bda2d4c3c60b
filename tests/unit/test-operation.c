/* SPDX-License-Identifier: Apache-2.0
 *
 * Operations without a service: their states, results, resources, and what misuse answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>

#include "compute/internal.h"

static void states(void **unused)
{
	char *doc = NULL;
	int context;
	HCS_OPERATION op = HcsCreateOperation(&context, NULL);

	assert_ptr_equal(HcsGetOperationContext(op), &context);
	assert_int_equal(HcsGetOperationType(op), HcsOperationTypeNone);
	assert_int_equal(HcsWaitForOperationResult(op, 0, &doc), HCS_E_OPERATION_NOT_STARTED);
	assert_int_equal(cs_op_begin(op, HcsOperationTypeModify, NULL, NULL), HCS_S_OK);
	assert_int_equal(cs_op_begin(op, HcsOperationTypeModify, NULL, NULL), HCS_E_OPERATION_ALREADY_STARTED);
	assert_int_equal(HcsGetOperationResult(op, NULL), HCS_E_OPERATION_PENDING);
	assert_int_equal(HcsWaitForOperationResult(op, 10, NULL), HCS_E_OPERATION_TIMEOUT);
	cs_op_failf(op, 0, CS_ERR_NOT_FOUND, "no %s", "thing");
	cs_op_complete(op, HCS_S_OK, NULL); /* too late */
	assert_int_equal(HcsWaitForOperationResult(op, HCS_INFINITE, &doc), HCS_E_ELEMENT_NOT_FOUND);
	assert_non_null(strstr(doc, "\"ErrorMessage\":\"no thing\""));
	assert_non_null(strstr(doc, "\"ErrorCode\":\"NOT_FOUND\""));
	HcsFree(doc);
	assert_int_equal(cs_op_begin(op, HcsOperationTypeStart, NULL, NULL), HCS_S_OK); /* reusable */
	cs_op_ref(op);
	HcsCloseOperation(op); /* in flight */
	cs_op_complete(op, HCS_S_OK, cs_xstrdup("{}"));
	cs_op_unref(op);
	assert_int_equal(HcsCancelOperation(NULL), HCS_E_NOTIMPL);
	(void)unused;
}

static void resources(void **unused)
{
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	struct cs_resource *r;
	size_t n;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), again = open("/dev/null", O_RDONLY | O_CLOEXEC);

	assert_int_equal(HcsAddResourceToOperation(op, HcsResourceTypeJob, "x", fd), HCS_E_INVALIDARG);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* owned also on failure */
	assert_int_equal(HcsAddResourceToOperation(op, HcsResourceTypeSocket, "hcs:/x", again), HCS_S_OK);
	cs_op_take_resources(op, &r, &n);
	assert_int_equal(n, 1);
	assert_string_equal(r[0].uri, "hcs:/x");
	cs_resources_free(r, n);
	assert_int_equal(fcntl(again, F_GETFD), -1);
	HcsCloseOperation(op);
	(void)unused;
}

static void no_service(void **unused)
{
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	HCS_SYSTEM s;

	assert_int_equal(HcsCreateComputeSystem("a", "{}", op, NULL, &s), HCS_E_SERVICE_NOT_AVAILABLE);
	assert_int_equal(HcsOpenComputeSystem("a", 0, &s), HCS_E_SERVICE_NOT_AVAILABLE);
	assert_int_equal(HcsStartComputeSystem(NULL, op, NULL), HCS_E_INVALIDARG);
	HcsCloseComputeSystem(NULL);
	HcsCloseProcess(NULL);
	HcsCloseOperation(op);
	(void)unused;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(states), cmocka_unit_test(resources), cmocka_unit_test(no_service)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
