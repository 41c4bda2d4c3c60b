/* SPDX-License-Identifier: Apache-2.0
 *
 * The bus: live events, filters, history, the shape by API version, and that a sleeper is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/time.h"
#include "engine/events.h"

static struct cs_engine *engine(void)
{
	struct cs_engine *e = cs_xcalloc(1, sizeof(*e));
	e->bus = cs_bus_new();
	return e;
}

static void emit(struct cs_engine *e, const char *type, const char *action, const char *id, const char *name)
{
	struct cs_strmap *m = cs_strmap_new();
	cs_strmap_set(m, "name", name);
	cs_strmap_set(m, "image", "base:1");
	cs_event(e, type, action, id, m);
}

static size_t drain(struct cs_stream *s, char *buf, size_t max)
{
	size_t n = 0;
	for (ssize_t r; n < max - 1 && (r = s->ops->read(s, buf + n, max - 1 - n)) > 0;)
		n += (size_t)r;
	buf[n] = 0;
	return n;
}

static void live_and_filtered(void **state)
{
	struct cs_engine *e = engine();
	struct cs_stream *all = NULL, *some = NULL;
	char buf[65536];

	(void)state;
	assert_int_equal(cs_events_stream(e, 0, 0, NULL, 145, &all, NULL), 0);
	assert_int_equal(cs_events_stream(e, 0, 0, "{\"event\":[\"exec_start\"],\"container\":[\"we\"]}", 152, &some, NULL), 0);
	assert_int_equal(all->ops->read(all, buf, sizeof(buf)), -EAGAIN);
	emit(e, "container", "start", "abc", "web");
	emit(e, "container", "exec_start: sh -c x", "abc", "web");
	emit(e, "container", "exec_start: sh", "abd", "db");
	drain(all, buf, sizeof(buf));
	assert_non_null(strstr(buf, "{\"status\":\"start\",\"id\":\"abc\",\"from\":\"base:1\",\"Type\":\"container\",\"Action\":\"start\","
				    "\"Actor\":{\"ID\":\"abc\",\"Attributes\":{\"image\":\"base:1\",\"name\":\"web\"}},\"scope\":\"local\",\"time\":"));
	drain(some, buf, sizeof(buf));
	assert_int_equal(strncmp(buf, "{\"Type\":\"container\",\"Action\":\"exec_start: sh -c x\"", 50), 0);
	assert_null(strstr(buf, "abd"));
	cs_stream_free(all);
	cs_stream_free(some);
	cs_bus_free(e->bus);
	free(e);
}

static void history(void **state)
{
	struct cs_engine *e = engine();
	struct cs_stream *s = NULL;
	char buf[262144], id[16];
	size_t lines = 0;

	(void)state;
	int64_t before = cs_now_ns() - 1;
	for (int i = 0; i < 300; i++) {
		(void)snprintf(id, sizeof(id), "id%d", i);
		emit(e, "container", "create", id, "n");
	}
	assert_int_equal(cs_events_stream(e, before, cs_now_ns(), NULL, 145, &s, NULL), 0);
	drain(s, buf, sizeof(buf));
	for (char *p = buf; (p = strchr(p, '\n')); p++)
		lines++;
	assert_int_equal(lines, 256);
	assert_null(strstr(buf, "\"id43\""));
	assert_non_null(strstr(buf, "\"id44\""));
	assert_int_equal(s->ops->read(s, buf, sizeof(buf)), 0); /* until is over */
	cs_stream_free(s);
	assert_int_equal(cs_events_stream(e, 20, 10, NULL, 145, &s, NULL), -1);
	cs_bus_free(e->bus);
	free(e);
}

static void sleepers_are_cut(void **state)
{
	struct cs_engine *e = engine();
	struct cs_stream *s = NULL;
	char buf[4096];
	ssize_t r;

	(void)state;
	assert_int_equal(cs_events_stream(e, 0, 0, NULL, 145, &s, NULL), 0);
	for (int i = 0; i < 5000; i++)
		emit(e, "container", "create", "x", "n");
	while ((r = s->ops->read(s, buf, sizeof(buf))) > 0)
		;
	assert_int_equal(r, -EPIPE);
	cs_stream_free(s);
	cs_bus_free(e->bus);
	free(e);
}

/* Labels may be megabytes, and are in each event of their container. */
static void bound_by_bytes(void **state)
{
	enum { LONG = 65536, MANY = 200 };
	struct cs_engine *e = engine();
	struct cs_stream *sleeper = NULL, *late = NULL;
	cs_autofree char *text = cs_xcalloc(1, LONG + 1), *buf = cs_xcalloc(MANY, LONG + 1024);
	size_t got;

	(void)state;
	memset(text, 'x', LONG);
	int64_t before = cs_now_ns() - 1;
	assert_int_equal(cs_events_stream(e, 0, 0, NULL, 145, &sleeper, NULL), 0);
	for (int i = 0; i < MANY; i++)
		emit(e, "container", "start", i == MANY - 1 ? "last" : "abc", text);
	got = drain(sleeper, buf, MANY * (size_t)LONG);
	assert_in_range(got, 4u << 20, (4u << 20) + 4 * LONG);
	assert_int_equal(sleeper->ops->read(sleeper, buf, LONG), -EPIPE);
	/* and so is what is kept for those who ask later */
	assert_int_equal(cs_events_stream(e, before, cs_now_ns(), NULL, 145, &late, NULL), 0);
	got = drain(late, buf, MANY * (size_t)LONG);
	assert_in_range(got, LONG, (1u << 20) + LONG);
	assert_non_null(strstr(buf, "\"id\":\"last\""));
	cs_stream_free(sleeper);
	cs_stream_free(late);
	cs_bus_free(e->bus);
	free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(live_and_filtered), cmocka_unit_test(history), cmocka_unit_test(bound_by_bytes), cmocka_unit_test(sleepers_are_cut)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
