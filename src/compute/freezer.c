/* SPDX-License-Identifier: Apache-2.0
 *
 * Pause and resume by the freezer, v1 and v2, with a bounded wait: a process in the middle of uninterruptible work may never freeze; then
 * everything is thawed again and the caller gets an error. Any thread. */
#include <fcntl.h>
#include <time.h>

#include "base/io.h"
#include "base/time.h"
#include "compute/internal.h"

static bool read_is(const char *file, const char *line)
{
	cs_autostr struct cs_str text = CS_STR_INIT(4096);
	const char *p;

	if (cs_read_file_at(AT_FDCWD, file, &text) < 0 || !text.buf)
		return false;
	p = strstr(text.buf, line);
	return p && (p == text.buf || p[-1] == '\n') && (p[strlen(line)] == '\n' || !p[strlen(line)]);
}

struct freezer {
	char *control, *state;         /* files */
	const char *on, *off, *frozen; /* what is written, and what the state file says */
};

static void freezer_done(struct freezer *f)
{
	free(f->control);
	free(f->state);
}

static int freezer_of(struct cs_system *s, struct freezer *f, struct cs_err **err)
{
	cs_autofree char *dir = cs_system_cgroup(s, "freezer");

	if (!dir)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "this host has no cgroup freezer");
	if (cs_service.host.cgroup_version == 2)
		*f = (struct freezer){cs_xasprintf("%s/cgroup.freeze", dir), cs_xasprintf("%s/cgroup.events", dir), "1", "0", "frozen 1"};
	else
		*f = (struct freezer){cs_xasprintf("%s/freezer.state", dir), cs_xasprintf("%s/freezer.state", dir), "FROZEN", "THAWED", "FROZEN"};
	return 0;
}

/* Also when it has not got to its end: an engine that died while it froze leaves the rest of that to the next one, and nobody else would thaw. */
bool cs_freezer_is_frozen(struct cs_system *s)
{
	cs_auto(freezer_done) struct freezer f = {0};

	if (freezer_of(s, &f, NULL) < 0)
		return false;
	if (cs_service.host.cgroup_version == 2)
		return read_is(f.control, "1");
	return read_is(f.state, "FROZEN") || read_is(f.state, "FREEZING");
}

int cs_freezer_set(struct cs_system *s, bool frozen, int timeout_ms, struct cs_err **err)
{
	cs_auto(freezer_done) struct freezer f = {0};
	int64_t until = cs_monotonic_ns() + timeout_ms * CS_NS_PER_MS;
	struct timespec pause = {.tv_nsec = 200000};

	if (freezer_of(s, &f, err) < 0)
		return -1;
	const char *value = frozen ? f.on : f.off;
	for (;;) {
		int r = cs_write_file_at(AT_FDCWD, f.control, value, strlen(value));
		if (r < 0)
			return cs_fail(err, CS_ERR_INTERNAL, -r, "%s %s", frozen ? "freeze" : "thaw", s->id);
		if (!frozen || read_is(f.state, f.frozen))
			return 0;
		if (cs_monotonic_ns() >= until)
			break;
		/* v1 stays FREEZING until it is asked again when processes were forking */
		(void)nanosleep(&pause, NULL);
		if (pause.tv_nsec < 10000000)
			pause.tv_nsec *= 2;
	}
	(void)!cs_write_file_at(AT_FDCWD, f.control, f.off, strlen(f.off));
	return cs_fail(err, CS_ERR_TIMEOUT, 0, "freeze %s: a process does not stop; thawed again", s->id);
}
