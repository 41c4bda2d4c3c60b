/* SPDX-License-Identifier: Apache-2.0
 *
 * Root test of the host compute service over real workers: run-system <worker> <scratch directory>. Makes a busybox root, then starts,
 * execs, pauses, measures, updates, terminates, loses its "daemon" (a child that is killed) and finds the system again.
 * Prints one line per check and exits 1 at the first that fails; 77 when it is not root. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/io.h"
#include "base/str.h"
#include "base/time.h"
#include "computecore.h"

static char root[256], runtime[300], worker[256];
static int step;

#define CHECK(cond, ...)                                                                                                \
	do {                                                                                                           \
		bool ok_ = (cond);                                                                                     \
		printf("%s %d - ", ok_ ? "ok" : "not ok", ++step);                                                     \
		printf(__VA_ARGS__);                                                                                   \
		printf("\n");                                                                                          \
		(void)fflush(stdout);                                                                                  \
		if (!ok_)                                                                                              \
			exit(1);                                                                                       \
	} while (0)

static char *document(const char *id, const char *command)
{
	return cs_xasprintf(
		"{\"Owner\":\"test\",\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"Container\":{\"Storage\":{\"Layers\":[{\"Id\":\"l\",\"Path\":\"%s/layer\"}],"
		"\"Path\":\"%s/snap-%s\"},\"Logging\":{\"Driver\":\"json-file\",\"Path\":\"%s/snap-%s/log\",\"MaxFile\":1}},"
		"\"OciSpecification\":{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/bin/sh\",\"-c\",\"%s\"],\"cwd\":\"/\",\"env\":[\"PATH=/bin\"],"
		"\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"effective\":[\"CAP_CHOWN\",\"CAP_KILL\"],\"permitted\":[\"CAP_CHOWN\",\"CAP_KILL\"]}},"
		"\"hostname\":\"h\",\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\",\"options\":[\"nosuid\",\"noexec\",\"nodev\"]},"
		"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]},"
		"{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0620\"]}],"
		"\"linux\":{\"cgroupsPath\":\"/caisson-compute-test/%s\",\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],"
		"\"memory\":{\"limit\":67108864},\"pids\":{\"limit\":50}},"
		"\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"network\"}],"
		"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":[\"swapon\"],\"action\":\"SCMP_ACT_ERRNO\"}]}}}}",
		root, root, id, root, id, command, id);
}

static HRESULT finish(HRESULT hr, HCS_OPERATION op, char **doc)
{
	char *text = NULL;
	if (hr == HCS_S_OK)
		hr = HcsWaitForOperationResult(op, 20000, &text);
	if (hr != HCS_S_OK)
		printf("# %08x %s\n", (unsigned)hr, text ? text : "");
	if (doc)
		*doc = text;
	else
		HcsFree(text);
	return hr;
}

static void make_snapshot(const char *id)
{
	static const char *const dirs[] = {"upper", "work", "merged"};
	for (size_t i = 0; i < 3; i++) {
		cs_autofree char *d = cs_xasprintf("%s/snap-%s/%s", root, id, dirs[i]);
		if (cs_mkdir_p(AT_FDCWD, d, 0755) < 0)
			exit(2);
	}
}

static HCS_SYSTEM start(const char *id, const char *command, HRESULT *ret, char **doc)
{
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	cs_autofree char *text = document(id, command);
	HCS_SYSTEM s = NULL;

	make_snapshot(id);
	*ret = finish(HcsCreateComputeSystem(id, text, op, NULL, &s), op, NULL);
	if (*ret == HCS_S_OK)
		*ret = finish(HcsStartComputeSystem(s, op, NULL), op, doc);
	HcsCloseOperation(op);
	return s;
}

static void initialize(void)
{
	cs_autofree char *settings = cs_xasprintf("{\"RuntimeDirectory\":\"%s\",\"Worker\":\"%s\",\"CgroupParent\":\"/caisson-compute-test\"}", runtime, worker);
	char *result = NULL;
	HRESULT hr = HcsInitializeService(settings, &result);
	CHECK(hr == HCS_S_OK, "service: %s", result);
	HcsFree(result);
}

static volatile int exit_events;
static void on_event(const HCS_EVENT *ev, void *ctx)
{
	(void)ctx;
	if (ev->Type == HcsEventSystemExited)
		exit_events++;
}

static bool knows(HCS_SYSTEM s, const char *exec)
{
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	cs_autofree char *id = cs_xasprintf("\"Id\":\"%s\"", exec);
	char *doc = NULL;

	HRESULT hr = finish(HcsGetComputeSystemProperties(s, op, "{\"PropertyTypes\":[\"Processes\"]}"), op, &doc);
	HcsCloseOperation(op);
	bool found = hr == HCS_S_OK && strstr(doc, id);
	HcsFree(doc);
	return found;
}

static void test_life(void)
{
	char *doc = NULL;
	HRESULT hr;
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	HCS_PROCESS p = NULL;

	HCS_SYSTEM s = start("one", "sleep 100; exit 3", &hr, &doc);
	CHECK(hr == HCS_S_OK, "start: %s", doc);
	HcsFree(doc);
	CHECK(HcsSetComputeSystemCallback(s, HcsEventOptionNone, NULL, on_event) == HCS_S_OK, "callback");
	hr = finish(HcsCreateProcess(s, "{\"Id\":\"e1\",\"OciProcess\":{\"args\":[\"/bin/sh\",\"-c\",\"exit 7\"],\"cwd\":\"/\"}}", op, NULL, &p), op, &doc);
	CHECK(hr == HCS_S_OK && p, "exec: %s", doc);
	HcsFree(doc);
	hr = HcsWaitForProcessExit(p, 10000, &doc);
	CHECK(hr == HCS_S_OK && strstr(doc, "\"ExitCode\":7"), "exec exit: %s", doc);
	HcsFree(doc);
	hr = finish(HcsModifyProcess(p, op, "{\"Operation\":\"Release\"}"), op, NULL);
	CHECK(hr == HCS_S_OK, "release");
	HcsCloseProcess(p);
	hr = finish(HcsCreateProcess(s, "{\"Id\":\"e3\",\"OciProcess\":{\"args\":[\"/bin/sh\",\"-c\",\"exec sleep 1000\"],\"cwd\":\"/\",\"env\":[\"PATH=/bin\"]}}", op, NULL, &p), op, NULL);
	CHECK(hr == HCS_S_OK && finish(HcsModifyProcess(p, op, "{\"Operation\":\"Release\"}"), op, NULL) == HCS_S_OK, "release what runs");
	CHECK(knows(s, "e3"), "it is known as long as it runs");
	hr = finish(HcsTerminateProcess(p, op, NULL), op, NULL);
	CHECK(hr == HCS_S_OK && HcsWaitForProcessExit(p, 10000, NULL) == HCS_S_OK, "it ends");
	for (int i = 0; i < 1000 && knows(s, "e3"); i++)
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	CHECK(!knows(s, "e3"), "and is forgotten");
	HcsCloseProcess(p);
	hr = finish(HcsCreateProcess(s, "{\"Id\":\"e2\",\"OciProcess\":{\"args\":[\"nosuch\"],\"cwd\":\"/\",\"env\":[\"PATH=/bin\"]}}", op, NULL, &p), op, &doc);
	CHECK(hr != HCS_S_OK && strstr(doc, "EXEC_NOT_FOUND"), "exec of nothing: %s", doc);
	HcsFree(doc);
	HcsCloseProcess(p);
	hr = finish(HcsGetComputeSystemProperties(s, op, "{\"PropertyTypes\":[\"Statistics\",\"ProcessList\",\"Processes\"]}"), op, &doc);
	CHECK(hr == HCS_S_OK && strstr(doc, "\"limit\":67108864") && strstr(doc, "\"Id\":\"init\""), "properties: %.300s", doc);
	HcsFree(doc);
	hr = finish(HcsModifyComputeSystem(s, op, "{\"ResourcePath\":\"Container/Resources\",\"Settings\":{\"memory\":{\"limit\":134217728,\"swap\":-1}}}", NULL), op, NULL);
	CHECK(hr == HCS_S_OK, "update");
	CHECK(finish(HcsPauseComputeSystem(s, op, NULL), op, NULL) == HCS_S_OK, "pause");
	CHECK(finish(HcsPauseComputeSystem(s, op, NULL), op, NULL) == HCS_E_INVALID_STATE, "pause twice");
	CHECK(finish(HcsResumeComputeSystem(s, op, NULL), op, NULL) == HCS_S_OK, "resume");
	CHECK(finish(HcsPauseComputeSystem(s, op, NULL), op, NULL) == HCS_S_OK, "pause again");
	CHECK(finish(HcsTerminateComputeSystem(s, op, NULL), op, NULL) == HCS_S_OK, "terminate while paused");
	hr = HcsWaitForComputeSystemExit(s, 10000, &doc);
	CHECK(hr == HCS_S_OK && strstr(doc, "ForcedExit") && strstr(doc, "\"ExitCode\":137"), "exit: %s", doc);
	HcsFree(doc);
	CHECK(finish(HcsTerminateComputeSystem(s, op, NULL), op, NULL) == HCS_E_SYSTEM_ALREADY_STOPPED, "terminate twice");
	for (int i = 0; i < 1000 && exit_events == 0; i++) /* told by another thread, some moments behind who waited */
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	HcsCloseComputeSystem(s);
	CHECK(exit_events == 1, "one exit event, not %d", exit_events);
	CHECK(HcsOpenComputeSystem("one", 0, &s) == HCS_E_SYSTEM_NOT_FOUND, "the id is free");
	s = start("one", "exit 5", &hr, &doc);
	CHECK(hr == HCS_S_OK, "restart at once: %s", doc);
	HcsFree(doc);
	hr = HcsWaitForComputeSystemExit(s, 10000, &doc);
	CHECK(hr == HCS_S_OK && strstr(doc, "\"ExitCode\":5") && strstr(doc, "GracefulExit"), "exit: %s", doc);
	HcsFree(doc);
	HcsCloseComputeSystem(s);
	HcsCloseOperation(op);
}

static void test_speed(void)
{
	HRESULT hr;
	char *doc = NULL;
	int64_t best = INT64_MAX, sum = 0;
	for (int i = 0; i < 30; i++) {
		char id[32];
		(void)snprintf(id, sizeof(id), "speed%d", i);
		make_snapshot(id);
		int64_t t = cs_monotonic_ns();
		HCS_SYSTEM s = start(id, "exit 0", &hr, &doc);
		HcsFree(doc);
		if (hr != HCS_S_OK)
			CHECK(false, "start %s", id);
		hr = HcsWaitForComputeSystemExit(s, 10000, NULL);
		HcsCloseComputeSystem(s);
		t = cs_monotonic_ns() - t;
		sum += t;
		best = CS_MIN(best, t);
	}
	CHECK(true, "30 x create+start+wait+close: best %.2f ms, mean %.2f ms", (double)best / 1e6, (double)sum / 30e6);
}

#define MANY 20
static void test_parallel(void)
{
	HCS_OPERATION op[MANY];
	HCS_SYSTEM s[MANY];
	int64_t t = cs_monotonic_ns();
	int good = 0;
	for (int i = 0; i < MANY; i++) {
		char id[32];
		(void)snprintf(id, sizeof(id), "many%d", i);
		make_snapshot(id);
		cs_autofree char *text = document(id, "exit 0");
		op[i] = HcsCreateOperation(NULL, NULL);
		if (finish(HcsCreateComputeSystem(id, text, op[i], NULL, &s[i]), op[i], NULL) != HCS_S_OK || HcsStartComputeSystem(s[i], op[i], NULL) != HCS_S_OK)
			CHECK(false, "start %s", id);
	}
	for (int i = 0; i < MANY; i++) {
		good += finish(HCS_S_OK, op[i], NULL) == HCS_S_OK && HcsWaitForComputeSystemExit(s[i], 10000, NULL) == HCS_S_OK;
		HcsCloseComputeSystem(s[i]);
		HcsCloseOperation(op[i]);
	}
	CHECK(good == MANY, "%d at once in %.1f ms", good, (double)(cs_monotonic_ns() - t) / 1e6);
}

/* Right behind the start, which has not got anywhere yet: it ends all the same. */
static void test_terminated_while_starting(void)
{
	int good = 0;

	for (int i = 0; i < MANY; i++) {
		char id[32];
		HCS_OPERATION begin = HcsCreateOperation(NULL, NULL), end = HcsCreateOperation(NULL, NULL);
		HCS_SYSTEM s = NULL;
		(void)snprintf(id, sizeof(id), "short%d", i);
		make_snapshot(id);
		cs_autofree char *text = document(id, "sleep 1000");
		if (finish(HcsCreateComputeSystem(id, text, begin, NULL, &s), begin, NULL) != HCS_S_OK || HcsStartComputeSystem(s, begin, NULL) != HCS_S_OK)
			CHECK(false, "start %s", id);
		good += finish(HcsTerminateComputeSystem(s, end, NULL), end, NULL) == HCS_S_OK && HcsWaitForComputeSystemExit(s, 10000, NULL) == HCS_S_OK;
		(void)HcsWaitForOperationResult(begin, 10000, NULL);
		HcsCloseComputeSystem(s);
		HcsCloseOperation(begin);
		HcsCloseOperation(end);
	}
	CHECK(good == MANY, "%d of %d terminated while they started", good, MANY);
}

static bool is_idle_worker(const char *pid)
{
	cs_autofree char *stat = cs_xasprintf("/proc/%s/stat", pid), *children = cs_xasprintf("/proc/%s/task/%s/children", pid, pid), *mine = cs_xasprintf(") S %d ", (int)getpid());
	cs_autostr struct cs_str text = CS_STR_INIT(4096), none = CS_STR_INIT(4096);

	return cs_read_file_at(AT_FDCWD, stat, &text) == 0 && text.buf && strstr(text.buf, "(caisson-worker") && strstr(text.buf, mine) &&
	       cs_read_file_at(AT_FDCWD, children, &none) == 0 && none.len == 0;
}

/* Whoever takes it finds that it does not do its work. Returns how many were stopped. */
static int stop_idle_workers(void)
{
	DIR *d = opendir("/proc");
	int n = 0;

	for (struct dirent *e; d && (e = readdir(d));)
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && is_idle_worker(e->d_name))
			n += kill((pid_t)strtol(e->d_name, NULL, 10), SIGSTOP) == 0;
	if (d)
		(void)closedir(d);
	return n;
}

/* Its worker does nothing: begin is pending. */
static HRESULT start_stuck(const char *id, HCS_OPERATION begin, HCS_SYSTEM *ret)
{
	cs_autofree char *text = document(id, "sleep 1000");
	int stopped = 0;

	for (int i = 0; i < 1000 && !(stopped = stop_idle_workers()); i++)
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	make_snapshot(id);
	HRESULT hr = stopped > 0 ? finish(HcsCreateComputeSystem(id, text, begin, NULL, ret), begin, NULL) : HCS_E_FAIL;
	return hr == HCS_S_OK ? HcsStartComputeSystem(*ret, begin, NULL) : hr;
}

static void test_stuck_while_starting(void)
{
	HCS_OPERATION begin = HcsCreateOperation(NULL, NULL), end = HcsCreateOperation(NULL, NULL);
	HCS_SYSTEM s = NULL;

	CHECK(start_stuck("stuck", begin, &s) == HCS_S_OK, "a start with a worker that is stopped");
	CHECK(finish(HcsTerminateComputeSystem(s, end, NULL), end, NULL) == HCS_S_OK, "terminate");
	CHECK(HcsWaitForComputeSystemExit(s, 15000, NULL) == HCS_S_OK, "it ends, and its worker");
	CHECK(HcsWaitForOperationResult(begin, 10000, NULL) != HCS_S_OK, "the start has failed");
	HcsCloseComputeSystem(s);
	HcsCloseOperation(begin);
	HcsCloseOperation(end);
}

/* A daemon that starts three systems and is killed. */
static void test_reconnect(void)
{
	int sv[2];
	char c = 0;
	if (pipe(sv) < 0)
		exit(2);
	pid_t pid = fork();
	if (pid == 0) {
		HRESULT hr;
		char *doc = NULL;
		initialize();
		(void)start("lives", "sleep 1000", &hr, &doc);
		if (hr == HCS_S_OK)
			(void)start("ends", "sleep 1; exit 9", &hr, &doc);
		HCS_SYSTEM v = hr == HCS_S_OK ? start("vanishes", "sleep 1000", &hr, &doc) : NULL;
		HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
		if (v)
			(void)finish(HcsGetComputeSystemProperties(v, op, NULL), op, &doc);
		if (hr == HCS_S_OK)
			hr = start_stuck("begins", op, &v);
		c = hr == HCS_S_OK ? 'y' : 'n';
		(void)!write(sv[1], &c, 1);
		(void)pause();
		_exit(0);
	}
	CHECK(read(sv[0], &c, 1) == 1 && c == 'y', "a daemon has three systems");
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	/* the worker of one is killed as well */
	cs_autofree char *started = cs_xasprintf("%s/systems/vanishes/started", runtime);
	cs_autostr struct cs_str text = CS_STR_INIT(4096);
	if (cs_read_file_at(AT_FDCWD, started, &text) == 0 && text.buf) {
		char *w = strstr(text.buf, "worker=");
		uint64_t wpid = w ? strtoul(w + 7, NULL, 10) : 0;
		CHECK(wpid > 1 && kill((pid_t)wpid, SIGKILL) == 0, "its worker %d is killed", (int)wpid);
	}
	struct timespec two = {.tv_sec = 2};
	(void)nanosleep(&two, NULL);
	initialize();
	HCS_SYSTEM s;
	HCS_OPERATION op = HcsCreateOperation(NULL, NULL);
	char *doc = NULL;
	HRESULT hr = finish(HcsEnumerateComputeSystems(NULL, op), op, &doc);
	CHECK(hr == HCS_S_OK && strstr(doc, "lives") && strstr(doc, "ends"), "enumerate: %s", doc);
	HcsFree(doc);
	CHECK(HcsOpenComputeSystem("lives", 0, &s) == HCS_S_OK, "open lives");
	hr = finish(HcsGetComputeSystemProperties(s, op, "{\"PropertyTypes\":[\"Processes\"]}"), op, &doc);
	CHECK(hr == HCS_S_OK && strstr(doc, "Running"), "lives: %s", doc);
	HcsFree(doc);
	CHECK(finish(HcsTerminateComputeSystem(s, op, NULL), op, NULL) == HCS_S_OK && HcsWaitForComputeSystemExit(s, 10000, &doc) == HCS_S_OK, "terminate lives: %s",
	      doc ? doc : "");
	HcsFree(doc);
	HcsCloseComputeSystem(s);
	CHECK(HcsOpenComputeSystem("ends", 0, &s) == HCS_S_OK && HcsWaitForComputeSystemExit(s, 5000, &doc) == HCS_S_OK && strstr(doc, "\"ExitCode\":9"), "ends: %s",
	      doc);
	HcsFree(doc);
	HcsCloseComputeSystem(s);
	CHECK(HcsOpenComputeSystem("vanishes", 0, &s) == HCS_S_OK && HcsWaitForComputeSystemExit(s, 15000, &doc) == HCS_S_OK && strstr(doc, "Unknown"),
	      "vanishes: %s", doc);
	HcsFree(doc);
	HcsCloseComputeSystem(s);
	CHECK(HcsOpenComputeSystem("begins", 0, &s) == HCS_S_OK && finish(HcsTerminateComputeSystem(s, op, NULL), op, NULL) == HCS_S_OK, "terminate begins");
	CHECK(HcsWaitForComputeSystemExit(s, 15000, &doc) == HCS_S_OK, "begins: %s", doc ? doc : "");
	HcsFree(doc);
	HcsCloseComputeSystem(s);
	HcsCloseOperation(op);
	HcsShutdownService();
}

int main(int argc, char **argv)
{
	if (argc != 3 || geteuid() != 0)
		return 77;
	(void)snprintf(worker, sizeof(worker), "%s", argv[1]);
	(void)snprintf(root, sizeof(root), "%s", argv[2]);
	(void)snprintf(runtime, sizeof(runtime), "%s/run", root);
	struct sigaction sa = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
	test_reconnect();
	(void)sigaction(SIGCHLD, &sa, NULL);
	initialize();
	test_life();
	test_speed();
	test_parallel();
	test_terminated_while_starting();
	test_stuck_while_starting();
	HcsShutdownService();
	return 0;
}
