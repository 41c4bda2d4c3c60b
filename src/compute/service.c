/* SPDX-License-Identifier: Apache-2.0
 *
 * The service: opened once per process; knows the host, the worker's binary and all systems. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/guard.h"
#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/sys.h"
#include "base/time.h"
#include "compute/internal.h"
#include "compute/seccomp_cache.h"
#include "compute/socket_guard.h"

struct cs_service cs_service = {.lock = PTHREAD_MUTEX_INITIALIZER, .systems_fd = -EBADF, .worker_fd = -EBADF, .guard_fd = -EBADF};

bool cs_service_ready(void) { return cs_service.open; }

/* ---- workers that are on their way out: a new system of the same name waits for their cgroups to be gone ---- */

void cs_departing_add(const char *id)
{
	cs_service.departing.ids = cs_xreallocarray(cs_service.departing.ids, cs_service.departing.n + 1, sizeof(char *));
	cs_service.departing.ids[cs_service.departing.n++] = cs_xstrdup(id);
}

void cs_departing_remove(const char *id)
{
	pthread_mutex_lock(&cs_service.lock);
	for (size_t i = 0; i < cs_service.departing.n; i++) {
		if (strcmp(cs_service.departing.ids[i], id) != 0)
			continue;
		free(cs_service.departing.ids[i]);
		cs_service.departing.ids[i] = cs_service.departing.ids[--cs_service.departing.n];
		pthread_cond_broadcast(&cs_service.departed);
		break;
	}
	pthread_mutex_unlock(&cs_service.lock);
}

static bool is_departing(const char *id)
{
	for (size_t i = 0; i < cs_service.departing.n; i++)
		if (strcmp(cs_service.departing.ids[i], id) == 0)
			return true;
	return false;
}

void cs_departing_wait(const char *id, int timeout_ms)
{
	struct timespec until = cs_timespec(cs_monotonic_ns() + timeout_ms * CS_NS_PER_MS);

	pthread_mutex_lock(&cs_service.lock);
	while (is_departing(id))
		if (pthread_cond_timedwait(&cs_service.departed, &cs_service.lock, &until) == ETIMEDOUT)
			break;
	pthread_mutex_unlock(&cs_service.lock);
}

/* ---- the worker's binary ---- */

/* A sealed copy in memory: a container that reaches /proc/<pid>/exe of its worker can neither change it nor find it on disk, and an
 * upgrade of the package does not mix versions while this engine runs. */
int cs_worker_load(const char *path, int *ret_fd, struct cs_err **err)
{
	cs_autostr struct cs_str bin = CS_STR_INIT(64 << 20);
	int r = cs_read_file_at(AT_FDCWD, path, &bin);

	if (r < 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, -r, "read the worker %s", path);
	if (bin.len < 4 || memcmp(bin.buf, "\177ELF", 4) != 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "the worker %s is not a program", path);
	cs_autofd int fd = sys_memfd_create("caisson-worker", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);
	if (fd == -EINVAL) /* before 6.3 every memfd is executable */
		fd = sys_memfd_create("caisson-worker", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -fd, "create memory for the worker");
	r = cs_write_full(fd, bin.buf, bin.len);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "copy the worker");
	/* also for the built-in init, which the container's user executes */
	if (fchmod(fd, 0555) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "seal the worker");
	/* a descriptor that is open for writing cannot be executed (ETXTBSY) on older kernels */
	cs_autofree char *self = cs_xasprintf("/proc/self/fd/%d", fd);
	int ro = open(self, O_RDONLY | O_CLOEXEC);
	*ret_fd = ro >= 0 ? ro : TAKE_FD(fd);
	return 0;
}

/* ---- open and close ---- */

static int read_settings(const char *text, struct cs_err **err)
{
	static const char *const known[] = {"RuntimeDirectory", "Worker", "CgroupParent", NULL};
	cs_autojson json_t *o = cs_json_parse(text, strlen(text), err);
	const char *runtime = NULL, *worker = NULL, *parent = "/caisson";

	if (!o || cs_field_is_obj(o, "settings", err) < 0 || cs_field_only(o, "", known, err) < 0 ||
	    cs_field_str(o, "", "RuntimeDirectory", CS_F_REQUIRED, &runtime, err) < 0 || cs_field_str(o, "", "Worker", CS_F_REQUIRED, &worker, err) < 0 ||
	    cs_field_str(o, "", "CgroupParent", 0, &parent, err) < 0)
		return -1;
	if (*runtime != '/' || *parent != '/')
		return cs_fail(err, CS_ERR_INVALID, 0, "RuntimeDirectory and CgroupParent must be absolute paths");
	cs_service.runtime = cs_xstrdup(runtime);
	cs_service.worker = cs_xstrdup(worker);
	cs_service.cgroup_parent = cs_xstrdup(parent);
	return 0;
}

static int open_runtime(struct cs_err **err)
{
	cs_autofree char *dir = cs_xasprintf("%s/systems", cs_service.runtime);
	int r = cs_mkdir_p(AT_FDCWD, dir, 0711);

	if (r == 0)
		cs_service.systems_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r < 0 || cs_service.systems_fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, r < 0 ? -r : errno, "open the runtime directory %s", dir);
	if (fchmod(cs_service.systems_fd, 0700) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "protect the runtime directory %s", dir);
	return 0;
}

static void close_service(void)
{
	cs_close(TAKE_FD(cs_service.systems_fd));
	cs_close(TAKE_FD(cs_service.worker_fd));
	cs_close(TAKE_FD(cs_service.guard_fd));
	free(TAKE_PTR(cs_service.runtime));
	free(TAKE_PTR(cs_service.worker));
	free(TAKE_PTR(cs_service.cgroup_parent));
	cs_host_done(&cs_service.host);
}

static void open_guard(void)
{
	cs_autoerr struct cs_err *err = NULL;

	if (!cs_service.host.seccomp || cs_guard_open(&cs_service.guard_fd, &err) == 0)
		return;
	cs_autofree char *families = cs_guard_open_families(), *text = cs_err_text(err);
	cs_log(families ? CS_LOG_WARN : CS_LOG_DEBUG, "compute", "sockets of 32-bit programs: %s", text);
	if (families)
		cs_warnf(&cs_service.host.warnings, "32-bit programs can make sockets that the seccomp profile refuses (%s), through socketcall: %s", families, text);
}

static int open_service(const char *settings, struct cs_err **err)
{
	cs_cond_init(&cs_service.departed);
	if (read_settings(settings, err) < 0 || cs_host_probe(&cs_service.host, err) < 0 || open_runtime(err) < 0 ||
	    cs_worker_load(cs_service.worker, &cs_service.worker_fd, err) < 0)
		return -1;
	open_guard();
	return cs_monitor_start(err);
}

/* Consumes err. */
static HRESULT service_fail(struct cs_err *err, char **result)
{
	HRESULT hr = cs_hresult(err->code);
	cs_autofree char *text = cs_err_text(err);

	if (result)
		*result = cs_result_error(hr, err->code, err->sys, text);
	cs_err_free(err);
	return hr;
}

HRESULT HcsInitializeService(const char *settings, char **result)
{
	struct cs_err *err = NULL;

	if (result)
		*result = NULL;
	if (!settings || cs_service.open)
		return HCS_E_INVALIDARG;
	if (open_service(settings, &err) < 0) {
		close_service();
		return service_fail(err, result);
	}
	cs_cpuset_prepare(cs_service.cgroup_parent);
	cs_service.open = true;
	cs_reconnect_all();
	cs_seccomp_sweep();
	cs_spare_open();
	return HcsGetServiceProperties(NULL, result);
}

HRESULT HcsGetServiceProperties(const char *query, char **result)
{
	cs_autostr struct cs_str out = CS_STR_INIT(1 << 20);

	(void)query;
	if (!cs_service.open)
		return HCS_E_SERVICE_NOT_AVAILABLE;
	cs_host_describe(&cs_service.host, &out);
	if (result)
		*result = cs_str_steal(&out);
	return HCS_S_OK;
}

static int modify_profile(json_t *settings, bool remove, struct cs_str *out, struct cs_err **err)
{
	const char *key = remove ? "Name" : "Profile", *const known[] = {key, NULL}, *value = NULL;
	char name[CS_SECCOMP_NAME];

	if (cs_field_only(settings, "Settings", known, err) < 0 || cs_field_str(settings, "Settings", key, CS_F_REQUIRED, &value, err) < 0)
		return -1;
	if (remove)
		return cs_seccomp_unregister(value, err);
	if (cs_seccomp_register(value, strlen(value), name, err) < 0)
		return -1;
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Name", name);
	cs_str_putc(out, '}');
	return 0;
}

/* docs/compute-documents.md: SeccompProfile, StartExpected */
static int modify(const char *settings, struct cs_str *out, struct cs_err **err)
{
	static const char *const known[] = {"PropertyType", "RequestType", "Settings", NULL};
	cs_autojson json_t *o = cs_json_parse(settings, strlen(settings), err);
	const char *type = NULL, *request = "Add";
	json_t *what = NULL;

	if (!o || cs_field_is_obj(o, "settings", err) < 0 || cs_field_only(o, "", known, err) < 0 ||
	    cs_field_str(o, "", "PropertyType", CS_F_REQUIRED, &type, err) < 0 || cs_field_str(o, "", "RequestType", 0, &request, err) < 0)
		return -1;
	if (strcmp(type, "StartExpected") == 0) {
		cs_spare_expect();
		return 0;
	}
	if (cs_field_obj(o, "", "Settings", CS_F_REQUIRED, &what, err) < 0)
		return -1;
	if (strcmp(type, "SeccompProfile") != 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "PropertyType: %s is not available in this build", type);
	if (strcmp(request, "Add") != 0 && strcmp(request, "Remove") != 0)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "RequestType: only Add and Remove are possible for %s", type);
	return modify_profile(what, strcmp(request, "Remove") == 0, out, err);
}

HRESULT HcsModifyServiceSettings(const char *settings, char **result)
{
	cs_autostr struct cs_str out = CS_STR_INIT(4096);
	struct cs_err *err = NULL;

	if (result)
		*result = NULL;
	if (!cs_service.open)
		return HCS_E_SERVICE_NOT_AVAILABLE;
	if (!settings)
		return HCS_E_INVALIDARG;
	if (modify(settings, &out, &err) < 0)
		return service_fail(err, result);
	if (result)
		*result = cs_str_steal(&out);
	return HCS_S_OK;
}

void HcsShutdownService(void)
{
	struct cs_system *s, *tmp;

	if (!cs_service.open)
		return;
	cs_spare_close();
	cs_background_wait(); /* while the monitor still runs: some wait for it, and what they post is done */
	cs_monitor_stop();
	cs_background_wait(); /* begun meanwhile; from here on what they use goes */
	cs_service.open = false;
	HASH_ITER(hh, cs_service.systems, s, tmp)
	{
		HASH_DEL(cs_service.systems, s);
		s->in_table = false;
		pthread_mutex_lock(&s->lock);
		struct cs_link *l = TAKE_PTR(s->link);
		pthread_mutex_unlock(&s->lock);
		if (l)
			cs_link_abandon(l);
		cs_system_unref(s);
	}
	cs_seccomp_close();
	close_service();
}
