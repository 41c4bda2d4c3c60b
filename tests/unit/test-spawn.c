/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "base/spawn.h"
#include "base/str.h"
#include "base/sys.h"

static int null = -1;
static pid_t child;
static char *const no_env[] = {NULL};

static int start(const char *program, char *const *argv, int out, struct cs_err **err)
{
	cs_autofd int exe = open(program, O_RDONLY | O_CLOEXEC);
	const int fds[] = {null, out, null};
	struct cs_spawn s = {.exe_fd = exe, .argv = argv, .envp = no_env, .fds = fds, .n_fds = CS_ARRAY_SIZE(fds)};

	return cs_spawn(&s, &child, err);
}

/* The child has the descriptors that it was given, in their places, and no others. */
static void test_descriptors(void **state)
{
	char *const argv[] = {(char *)(uintptr_t) "ls", (char *)(uintptr_t) "-1", (char *)(uintptr_t) "/proc/self/fd", NULL};
	cs_autostr struct cs_str got = CS_STR_INIT(4096);
	int ends[2], copies[200];

	for (size_t i = 0; i < CS_ARRAY_SIZE(copies); i++) /* not even such as are not close-on-exec */
		copies[i] = dup(null);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(start("/bin/ls", argv, ends[1], NULL), 0);
	cs_close(ends[1]);
	assert_int_equal(cs_read_fd(ends[0], &got), 0);
	cs_close(ends[0]);
	assert_string_equal(got.buf, "0\n1\n2\n3\n"); /* 3 is the directory itself */
	for (size_t i = 0; i < CS_ARRAY_SIZE(copies); i++)
		cs_close(copies[i]);
}

static void test_pid(void **state)
{
	char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t) "echo $$", NULL};
	cs_autostr struct cs_str got = CS_STR_INIT(4096);
	cs_autofree char *want = NULL;
	int ends[2];

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(start("/bin/sh", argv, ends[1], NULL), 0);
	cs_close(ends[1]);
	assert_int_equal(cs_read_fd(ends[0], &got), 0);
	cs_close(ends[0]);
	want = cs_xasprintf("%d\n", (int)child);
	assert_string_equal(got.buf, want);
}

static void test_what_exec_says(void **state)
{
	char *const argv[] = {(char *)(uintptr_t) "x", NULL};
	struct cs_err *err = NULL;

	assert_int_equal(start("/dev/null", argv, null, &err), -1);
	assert_int_equal(err->sys, EACCES);
	cs_err_free(err);
}

static atomic_bool stop;

static void *spawn_on(void *failed)
{
	char *const argv[] = {(char *)(uintptr_t) "true", NULL};

	while (!stop)
		if (start("/bin/true", argv, null, NULL) < 0)
			*(bool *)failed = true;
	return NULL;
}

/* What is closed here is closed, however many children are between clone and exec: the reader sees the end of the pipe at once. */
static void test_no_copies(void **state)
{
	pthread_t threads[3];
	bool failed[3] = {false};
	int lived_on = 0;

#if defined(__SANITIZE_THREAD__)
	skip(); /* there it is not so */
#endif
	stop = false;
	for (size_t i = 0; i < CS_ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, spawn_on, &failed[i]), 0);
	for (int i = 0; i < 2000; i++) {
		int ends[2];
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		sched_yield();
		cs_close(ends[1]);
		struct pollfd p = {.fd = ends[0], .events = POLLIN};
		lived_on += poll(&p, 1, 0) != 1 || !(p.revents & POLLHUP);
		cs_close(ends[0]);
	}
	stop = true;
	for (size_t i = 0; i < CS_ARRAY_SIZE(threads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_false(failed[i]);
	}
	assert_int_equal(lived_on, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_descriptors), cmocka_unit_test(test_pid), cmocka_unit_test(test_what_exec_says),
					   cmocka_unit_test(test_no_copies)};
	struct sigaction sa = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};

	if (sigaction(SIGCHLD, &sa, NULL) < 0)
		return 1;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
