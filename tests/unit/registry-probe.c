/* SPDX-License-Identifier: Apache-2.0
 *
 * The registry client from the command line: tests/integration/test_registry_client.py drives it against real and hostile registries.
 * Usage: registry-probe [--option value …] COMMAND ARGUMENT… ; one JSON object on stdout, exit status 1 when that is an error. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/json.h"
#include "base/log.h"
#include "base/num.h"
#include "base/sha256.h"
#include "base/time.h"
#include "registry/registry.h"

static struct cs_registry_config cfg;
static struct cs_registry_auth auth;
static struct cs_registry *reg;
static int cancel_fd = -1;
static int64_t cancel_after = -1, chunk = 65536, threads = 1, repeat = 1, pause_ms;
static bool push, has_auth;
static const char *out_file, *source_fail;
static unsigned retries;

static _Noreturn void leave(int r, struct cs_err *err, struct cs_str *out)
{
	cs_autostr struct cs_str status = CS_STR_INIT(65536);

	if (r < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_str_clear(out);
		cs_str_putc(out, '{');
		cs_json_put_kstr(out, "error", text);
		cs_json_put_kstr(out, "code", cs_code_name(cs_err_code(err)));
	}
	cs_json_put_ki64(out, "retries", retries);
	/* not getrusage(), which remembers the parent's size from before exec */
	if (cs_read_file_at(AT_FDCWD, "/proc/self/status", &status) == 0 && strstr(status.buf, "VmHWM:"))
		cs_json_put_ki64(out, "maxrss_kib", strtol(strstr(status.buf, "VmHWM:") + 6, NULL, 10));
	printf("%s}\n", out->buf);
	cs_err_free(err);
	cs_str_done(out);
	cs_registry_unref(reg);
	cs_registry_auth_done(&auth);
	cs_strv_free(cfg.mirrors);
	cs_strv_free(cfg.insecure);
	cs_strv_free(cfg.certs_dirs);
	cs_strv_free(cfg.hosts_dirs);
	exit(r < 0);
}

static void on_retry(void *ctx, const char *digest, unsigned seconds) { __atomic_add_fetch(&retries, 1, __ATOMIC_RELAXED); }

static int open_repo(char **a, struct cs_repo **ret, struct cs_err **err)
{
	struct cs_repo_options o = {.host = a[0], .path = a[1], .auth = has_auth ? &auth : NULL, .push = push, .cancel_fd = cancel_fd, .on_retry = on_retry};
	return cs_repo_open(reg, &o, ret, err);
}

static int read_file(const char *path, struct cs_str *s, struct cs_err **err)
{
	int r = cs_read_file_at(AT_FDCWD, path, s);
	return r < 0 ? cs_fail(err, CS_ERR_INTERNAL, -r, "%s", path) : 0;
}

/* ---- manifests ---- */

static int show_manifest(char **a, bool get, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	int64_t start = cs_monotonic_ns();

	if (open_repo(a, &repo, err) < 0)
		return -1;
	for (int64_t i = 0; i < repeat; i++) {
		cs_automanifest struct cs_remote_manifest m = {0};
		if ((get ? cs_repo_manifest_get : cs_repo_manifest_head)(repo, a[2], &m, err) < 0)
			return -1;
		if (i > 0)
			continue;
		cs_json_put_kstr(out, "media_type", m.media_type);
		cs_json_put_kstr(out, "digest", m.digest);
		cs_json_put_ki64(out, "len", (int64_t)m.len);
		if (m.data)
			cs_json_put_kstr(out, "data", m.data);
	}
	cs_json_put_ki64(out, "us", (cs_monotonic_ns() - start) / 1000);
	return 0;
}

static int cmd_manifest(char **a, struct cs_str *out, struct cs_err **err) { return show_manifest(a, true, out, err); }
static int cmd_head(char **a, struct cs_str *out, struct cs_err **err) { return show_manifest(a, false, out, err); }

static int cmd_put(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	cs_autostr struct cs_str data = CS_STR_INIT(CS_MANIFEST_MAX);

	push = true;
	if (read_file(a[4], &data, err) < 0 || open_repo(a, &repo, err) < 0)
		return -1;
	return cs_repo_manifest_put(repo, a[2], a[3], data.buf, data.len, err);
}

static int cmd_tags(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	cs_autostrv char **tags = NULL;

	if (open_repo(a, &repo, err) < 0 || cs_repo_tags(repo, &tags, err) < 0)
		return -1;
	cs_json_put_key(out, "tags");
	cs_json_put_strv(out, tags);
	return 0;
}

/* ---- blobs ---- */

struct job {
	struct cs_repo *repo;
	char **a;
	char hex[65];
	int64_t got;
	int r;
	struct cs_err *err;
};

static void *pull(void *arg)
{
	struct job *j = arg;
	struct cs_remote_blob *b = NULL;
	struct cs_sha256 h;
	int64_t size = -1;
	cs_autofree char *buf = cs_xmalloc((size_t)chunk);
	cs_autofd int fd = out_file ? open(out_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -EBADF;

	cs_sha256_init(&h);
	if (!cs_parse_i64(j->a[3], -5, INT64_MAX, &size)) {
		j->r = cs_fail(&j->err, CS_ERR_INVALID, 0, "size");
		return NULL;
	}
	j->r = cs_remote_blob_open(j->repo, j->a[2], size, -2, &b, &j->err);
	while (j->r == 0) {
		ssize_t n = cs_remote_blob_read(b, buf, (size_t)chunk);
		if (n < 0)
			j->r = cs_remote_blob_take_error(b, &j->err);
		if (n <= 0)
			break;
		cs_sha256_update(&h, buf, (size_t)n);
		if (fd >= 0 && cs_write_full(fd, buf, (size_t)n) < 0)
			abort();
		j->got += n;
		if (pause_ms > 0)
			usleep((useconds_t)pause_ms * 1000);
	}
	if (j->r == 0 && cs_remote_blob_read(b, buf, 1) != 0)
		abort(); /* the end stays the end */
	cs_remote_blob_close(b);
	cs_sha256_hex(&h, j->hex);
	return NULL;
}

static int cmd_blob(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	struct job *jobs = cs_xcalloc((size_t)threads, sizeof(*jobs));
	pthread_t *ids = cs_xcalloc((size_t)threads, sizeof(*ids));
	int r = open_repo(a, &repo, err);

	for (int64_t i = 0; r == 0 && i < threads; i++) {
		jobs[i] = (struct job){.repo = repo, .a = a};
		if (pthread_create(&ids[i], NULL, pull, &jobs[i]) != 0)
			abort();
	}
	for (int64_t i = 0; r == 0 && i < threads; i++)
		(void)pthread_join(ids[i], NULL);
	int64_t got = jobs[0].got;
	cs_str_putf(out, "\"digest\":\"sha256:%s\",\"got\":%lld", jobs[0].hex, (long long)got);
	for (int64_t i = 0; i < threads; i++) {
		if (r == 0 && jobs[i].r < 0)
			r = cs_err_move(err, TAKE_PTR(jobs[i].err));
		else if (r == 0 && strcmp(jobs[i].hex, jobs[0].hex) != 0)
			r = cs_fail(err, CS_ERR_INTERNAL, 0, "threads disagree");
		cs_err_free(jobs[i].err);
	}
	free(ids);
	free(jobs);
	return r;
}

static int cmd_blob_get(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	cs_autostr struct cs_str s = CS_STR_INIT(1 << 20);
	int64_t size;
	uint64_t max;

	if (!cs_parse_i64(a[3], -1, INT64_MAX, &size) || !cs_parse_u64(a[4], 0, 1 << 20, &max))
		return cs_fail(err, CS_ERR_INVALID, 0, "size");
	if (open_repo(a, &repo, err) < 0 || cs_repo_blob_get(repo, a[2], size, max, &s, err) < 0)
		return -1;
	cs_json_put_ki64(out, "got", (int64_t)s.len);
	return 0;
}

static int cmd_blob_head(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	int64_t size = -2;

	if (open_repo(a, &repo, err) < 0 || cs_repo_blob_head(repo, a[2], &size, err) < 0)
		return -1;
	cs_json_put_ki64(out, "size", size);
	return 0;
}

/* ---- upload ---- */

struct source {
	int fd;
	int64_t read, progress, fail_at;
	unsigned rewinds;
};
static ssize_t source_read(void *ctx, void *buf, size_t max)
{
	struct source *s = ctx;

	if (s->fail_at >= 0 && s->read >= s->fail_at)
		return -EIO;
	ssize_t n = read(s->fd, buf, max);
	s->read += n > 0 ? n : 0;
	return n < 0 ? -errno : n;
}
static int source_rewind(void *ctx)
{
	struct source *s = ctx;

	s->rewinds++;
	s->read = 0;
	return lseek(s->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}
static void source_progress(void *ctx, int64_t sent) { ((struct source *)ctx)->progress = sent; }

static int cmd_push(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	struct source s = {.fd = open(a[3], O_RDONLY | O_CLOEXEC), .fail_at = -1};
	struct cs_upload_source src = {.read = source_read, .rewind = source_rewind, .progress = source_progress, .ctx = &s};
	struct stat st;

	push = true;
	if (source_fail && !cs_parse_i64(source_fail, 0, INT64_MAX, &s.fail_at))
		return cs_fail(err, CS_ERR_INVALID, 0, "source-fail");
	if (s.fd < 0 || fstat(s.fd, &st) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "%s", a[3]);
	src.size = st.st_size;
	int r = open_repo(a, &repo, err);
	if (r == 0)
		r = cs_repo_blob_push(repo, a[2], &src, -2, err);
	cs_close(s.fd);
	cs_json_put_ki64(out, "progress", s.progress);
	cs_json_put_ki64(out, "rewinds", s.rewinds);
	return r;
}

static int cmd_mount(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autorepo struct cs_repo *repo = NULL;
	bool mounted = false;

	push = true;
	if (open_repo(a, &repo, err) < 0 || cs_repo_blob_mount(repo, a[2], a[3], &mounted, err) < 0)
		return -1;
	cs_json_put_kbool(out, "mounted", mounted);
	return 0;
}

/* ---- the rest ---- */

static int cmd_search(char **a, struct cs_str *out, struct cs_err **err)
{
	struct cs_search_result s = {0};
	int64_t n;

	if (!cs_parse_i64(a[1], INT32_MIN, INT32_MAX, &n))
		return cs_fail(err, CS_ERR_INVALID, 0, "limit");
	if (cs_registry_search(reg, a[0], n, has_auth ? &auth : NULL, cancel_fd, &s, err) < 0)
		return -1;
	cs_json_put_key(out, "names");
	cs_str_putc(out, '[');
	for (size_t i = 0; i < s.n; i++) {
		cs_str_puts(out, i ? "," : "");
		cs_json_put_string(out, s.hit[i].name);
	}
	cs_str_putc(out, ']');
	cs_search_result_done(&s);
	return 0;
}

static int cmd_login(char **a, struct cs_str *out, struct cs_err **err)
{
	cs_autofree char *status = NULL, *token = NULL;

	free(auth.server_address);
	auth.server_address = cs_xstrdup(a[0]);
	if (cs_registry_login(reg, &auth, cancel_fd, &status, &token, err) < 0)
		return -1;
	cs_json_put_kstr(out, "status", status);
	cs_json_put_kstr(out, "token", token);
	return 0;
}

static int cmd_cycle(char **a, struct cs_str *out, struct cs_err **err)
{
	int64_t n, start = cs_monotonic_ns();

	if (!cs_parse_i64(a[2], 1, 1000, &n))
		return -1;
	for (int64_t i = 0; i < n; i++) { /* loads and unloads the library each time */
		cs_autorepo struct cs_repo *repo = NULL;
		if (open_repo(a, &repo, err) < 0)
			return -1;
		cs_repo_close(TAKE_PTR(repo));
		cs_registry_trim();
	}
	cs_json_put_ki64(out, "us", (cs_monotonic_ns() - start) / 1000 / n);
	cs_autostr struct cs_str rollup = CS_STR_INIT(65536);
	if (cs_read_file_at(AT_FDCWD, "/proc/self/smaps_rollup", &rollup) == 0 && strstr(rollup.buf, "Pss:"))
		cs_json_put_ki64(out, "pss_kib", strtol(strstr(rollup.buf, "Pss:") + 4, NULL, 10));
	return 0;
}

static const struct {
	const char *name;
	int n;
	int (*fn)(char **a, struct cs_str *out, struct cs_err **err);
} commands[] = {
	{"manifest", 3, cmd_manifest}, {"head", 3, cmd_head}, {"put", 5, cmd_put}, {"tags", 2, cmd_tags}, {"blob", 4, cmd_blob},
	{"blob-get", 5, cmd_blob_get}, {"blob-head", 3, cmd_blob_head}, {"push", 4, cmd_push}, {"mount", 4, cmd_mount}, {"search", 2, cmd_search},
	{"login", 1, cmd_login}, {"cycle", 3, cmd_cycle},
};

static void *cancel_later(void *arg)
{
	usleep((useconds_t)cancel_after * 1000);
	cs_close(*(int *)arg); /* the other end of the pipe goes */
	return NULL;
}

static void option(const char *name, char *v)
{
	const struct {
		const char *name;
		char ***list;
	} lists[] = {{"mirror", &cfg.mirrors}, {"insecure", &cfg.insecure}, {"certs", &cfg.certs_dirs}, {"hosts", &cfg.hosts_dirs}};
	const struct {
		const char *name;
		int64_t *n;
	} numbers[] = {{"attempts", &cfg.max_attempts}, {"stall", &cfg.stall_timeout_ms}, {"backoff", &cfg.backoff_ms}, {"cancel-after", &cancel_after},
		       {"chunk", &chunk}, {"threads", &threads}, {"repeat", &repeat}, {"pause", &pause_ms}};
	const struct {
		const char *name, **s;
	} texts[] = {{"http-proxy", &cfg.http_proxy}, {"https-proxy", &cfg.https_proxy}, {"no-proxy", &cfg.no_proxy}, {"out", &out_file}, {"source-fail", &source_fail}};
	const struct {
		const char *name;
		char **s;
	} secrets[] = {{"user", &auth.username}, {"password", &auth.password}, {"identity-token", &auth.identity_token}, {"registry-token", &auth.registry_token}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(lists); i++)
		if (strcmp(name, lists[i].name) == 0)
			cs_strv_push(lists[i].list, v);
	for (size_t i = 0; i < CS_ARRAY_SIZE(numbers); i++)
		if (strcmp(name, numbers[i].name) == 0 && !cs_parse_i64(v, 0, INT32_MAX, numbers[i].n))
			abort();
	for (size_t i = 0; i < CS_ARRAY_SIZE(texts); i++)
		if (strcmp(name, texts[i].name) == 0)
			*texts[i].s = v;
	for (size_t i = 0; i < CS_ARRAY_SIZE(secrets); i++) {
		if (strcmp(name, secrets[i].name) == 0) {
			free(*secrets[i].s);
			*secrets[i].s = cs_xstrdup(v);
			has_auth = true;
		}
	}
}

int main(int argc, char **argv)
{
	struct cs_str out = CS_STR_INIT(64 << 20);
	struct cs_err *err = NULL;
	int at = 1, ends[2] = {-1, -1};
	pthread_t t;

	if (getenv("PROBE_DEBUG"))
		cs_log_set_level(CS_LOG_DEBUG);
	for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2)
		option(argv[at] + 2, argv[at + 1]);
	cs_str_putc(&out, '{');
	if (cs_registry_new(&cfg, &reg, &err) < 0)
		leave(-1, err, &out);
	if (cancel_after >= 0) {
		if (pipe2(ends, O_CLOEXEC) < 0 || pthread_create(&t, NULL, cancel_later, &ends[1]) != 0 || pthread_detach(t) != 0)
			abort();
		cancel_fd = ends[0];
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(commands); i++)
		if (at < argc && strcmp(argv[at], commands[i].name) == 0 && argc - at - 1 == commands[i].n) {
			int r = commands[i].fn(argv + at + 1, &out, &err); /* before leave() looks at err */
			leave(r, err, &out);
		}
	fprintf(stderr, "usage: registry-probe [--option value] command arguments\n");
	return 2;
}
