/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/top: the container's processes from the host's /proc, in the columns of ps(1). Nothing is executed, neither from the host
 * nor from the image (CVE-2022-1227). Users are shown by number unless the host knows them, as dockerd's host ps does. */
#include <ctype.h>
#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "base/time.h"
#include "engine/container.h"
#include "engine/events.h"
#include "engine/hostfacts.h"

struct proc {
	uint32_t uid;
	int64_t pid, ppid, pgid, sid, tty, nice, threads;
	uint64_t ticks, start, vsz, rss_pages;
	char state, comm[64];
	char *cmd;
};

static bool read_proc(int64_t pid, struct proc *p)
{
	cs_autofree char *dir = cs_xasprintf("/proc/%lld", (long long)pid);
	cs_autofd int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cs_autostr struct cs_str stat = CS_STR_INIT(8192), cmd = CS_STR_INIT(4u << 20);
	struct stat st;
	uint64_t f[24] = {0};

	*p = (struct proc){.pid = pid};
	if (fd < 0 || fstat(fd, &st) < 0 || cs_read_file_at(fd, "stat", &stat) < 0 || cs_read_file_at(fd, "cmdline", &cmd) < 0)
		return false;
	/* the name may hold anything, also ") R": it ends at the last bracket */
	char *open_ = strchr(stat.buf, '('), *close_ = strrchr(stat.buf, ')');
	if (!open_ || !close_ || close_[1] != ' ')
		return false;
	(void)snprintf(p->comm, sizeof(p->comm), "%.*s", (int)CS_MIN(close_ - open_ - 1, 63), open_ + 1);
	p->uid = st.st_uid;
	p->state = close_[2];
	char *at = close_ + 3;
	for (size_t i = 0; i < CS_ARRAY_SIZE(f); i++) {
		at += strspn(at, " ");
		bool neg = *at == '-';
		size_t n = strcspn(at + neg, " \n");
		if (!cs_parse_u64n(at + neg, n, 0, UINT64_MAX, &f[i]))
			f[i] = 0;
		if (neg)
			f[i] = (uint64_t) - (int64_t)f[i];
		at += neg + n;
	}
	/* f[0] is field 4 of proc(5) */
	p->ppid = (int64_t)f[0];
	p->pgid = (int64_t)f[1];
	p->sid = (int64_t)f[2];
	p->tty = (int64_t)f[3];
	p->ticks = f[10] + f[11];
	p->nice = (int64_t)f[15];
	p->threads = (int64_t)f[16];
	p->start = f[18];
	p->vsz = f[19];
	p->rss_pages = f[20];
	for (size_t i = 0; i + 1 < cmd.len; i++) {
		if (!cmd.buf[i])
			cmd.buf[i] = ' ';
	}
	p->cmd = cmd.len ? cs_xstrdup(cmd.buf) : cs_xasprintf("[%s]", p->comm);
	for (size_t n = strlen(p->cmd); n && p->cmd[n - 1] == ' ';)
		p->cmd[--n] = 0;
	return true;
}

static double uptime_s(void)
{
	struct timespec ts;
	return clock_gettime(CLOCK_BOOTTIME, &ts) == 0 ? (double)ts.tv_sec + (double)ts.tv_nsec / 1e9 : 0;
}

static double age_s(const struct proc *p) { return CS_MAX(uptime_s() - (double)p->start / (double)sysconf(_SC_CLK_TCK), 0.0); }

/* ---- columns ---- */
static char *c_user(const struct proc *p)
{
	struct passwd pw, *found = NULL;
	char buf[4096];

	if (getpwuid_r(p->uid, &pw, buf, sizeof(buf), &found) == 0 && found && strlen(found->pw_name) <= 32)
		return cs_xstrdup(found->pw_name);
	return cs_xasprintf("%u", p->uid);
}
static char *c_uid(const struct proc *p) { return cs_xasprintf("%u", p->uid); }
static char *c_pid(const struct proc *p) { return cs_xasprintf("%lld", (long long)p->pid); }
static char *c_ppid(const struct proc *p) { return cs_xasprintf("%lld", (long long)p->ppid); }
static char *c_pgid(const struct proc *p) { return cs_xasprintf("%lld", (long long)p->pgid); }
static char *c_sid(const struct proc *p) { return cs_xasprintf("%lld", (long long)p->sid); }
static char *c_nice(const struct proc *p) { return cs_xasprintf("%lld", (long long)p->nice); }
static char *c_threads(const struct proc *p) { return cs_xasprintf("%lld", (long long)p->threads); }
static char *c_vsz(const struct proc *p) { return cs_xasprintf("%llu", (unsigned long long)(p->vsz >> 10)); }
static char *c_rss(const struct proc *p)
{
	return cs_xasprintf("%llu", (unsigned long long)(p->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE) >> 10));
}
static char *c_stat(const struct proc *p)
{
	return cs_xasprintf("%c%s%s%s", p->state, p->nice < 0 ? "<" : p->nice > 0 ? "N" : "", p->sid == p->pid ? "s" : "", p->threads > 1 ? "l" : "");
}
static char *c_state(const struct proc *p) { return cs_xasprintf("%c", p->state); }
static char *c_comm(const struct proc *p) { return cs_xstrdup(p->comm); }
static char *c_cmd(const struct proc *p) { return cs_xstrdup(p->cmd); }
static char *c_tty(const struct proc *p)
{
	unsigned dev = (unsigned)p->tty, major_ = dev >> 8 & 0xfff, minor_ = (dev & 0xff) | (dev >> 12 & 0xfff00);

	if (dev == 0)
		return cs_xstrdup("?");
	return major_ >= 136 && major_ <= 143 ? cs_xasprintf("pts/%u", minor_ + (major_ - 136) * 256) :
	       major_ == 4			  ? cs_xasprintf("tty%u", minor_) :
						    cs_xstrdup("?");
}
static double cpu_share(const struct proc *p)
{
	double age = age_s(p), used = (double)p->ticks / (double)sysconf(_SC_CLK_TCK);
	return age > 0 ? 100 * used / age : 0;
}
static char *c_c(const struct proc *p) { return cs_xasprintf("%d", (int)CS_MIN(cpu_share(p), 99.0)); }
static char *c_pcpu(const struct proc *p) { return cs_xasprintf("%.1f", cpu_share(p)); }
static char *c_pmem(const struct proc *p)
{
	double total = (double)cs_host_facts()->mem_total;
	return cs_xasprintf("%.1f", total > 0 ? 100 * (double)p->rss_pages * (double)sysconf(_SC_PAGESIZE) / total : 0);
}
static char *c_time(const struct proc *p)
{
	uint64_t s = p->ticks / (uint64_t)sysconf(_SC_CLK_TCK);
	return cs_xasprintf("%02llu:%02llu:%02llu", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
}
static char *c_bsdtime(const struct proc *p)
{
	uint64_t s = p->ticks / (uint64_t)sysconf(_SC_CLK_TCK);
	return cs_xasprintf("%llu:%02llu", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
}
static char *c_etime(const struct proc *p)
{
	uint64_t s = (uint64_t)age_s(p);
	if (s >= 86400)
		return cs_xasprintf("%llu-%02llu:%02llu:%02llu", (unsigned long long)(s / 86400), (unsigned long long)(s / 3600 % 24),
				    (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
	if (s >= 3600)
		return cs_xasprintf("%02llu:%02llu:%02llu", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60), (unsigned long long)(s % 60));
	return cs_xasprintf("%02llu:%02llu", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
}
static char *c_stime(const struct proc *p)
{
	time_t at = (time_t)(cs_now_ns() / CS_NS_PER_SEC) - (time_t)age_s(p);
	struct tm tm;
	char buf[16] = "?";

	if (localtime_r(&at, &tm))
		(void)strftime(buf, sizeof(buf), age_s(p) < 86400 ? "%H:%M" : "%b%d", &tm);
	return cs_xstrdup(buf);
}

static const struct column {
	const char *name, *title;
	char *(*value)(const struct proc *p);
} columns[] = {
	{"user", "USER", c_user}, {"uname", "USER", c_user}, {"euser", "EUSER", c_user}, {"uid", "UID", c_uid}, {"euid", "EUID", c_uid},
	{"pid", "PID", c_pid}, {"tgid", "TGID", c_pid}, {"ppid", "PPID", c_ppid}, {"pgid", "PGID", c_pgid}, {"pgrp", "PGRP", c_pgid},
	{"sid", "SID", c_sid}, {"sess", "SESS", c_sid}, {"ni", "NI", c_nice}, {"nice", "NI", c_nice}, {"nlwp", "NLWP", c_threads},
	{"thcount", "THCNT", c_threads}, {"vsz", "VSZ", c_vsz}, {"vsize", "VSZ", c_vsz}, {"rss", "RSS", c_rss}, {"rssize", "RSS", c_rss},
	{"stat", "STAT", c_stat}, {"state", "S", c_state}, {"s", "S", c_state}, {"comm", "COMMAND", c_comm}, {"ucmd", "CMD", c_comm},
	{"ucomm", "COMMAND", c_comm}, {"args", "COMMAND", c_cmd}, {"cmd", "CMD", c_cmd}, {"command", "COMMAND", c_cmd}, {"tty", "TT", c_tty},
	{"tt", "TT", c_tty}, {"tname", "TTY", c_tty}, {"c", "C", c_c}, {"pcpu", "%CPU", c_pcpu}, {"%cpu", "%CPU", c_pcpu},
	{"pmem", "%MEM", c_pmem}, {"%mem", "%MEM", c_pmem}, {"time", "TIME", c_time}, {"cputime", "TIME", c_time}, {"bsdtime", "TIME", c_bsdtime},
	{"etime", "ELAPSED", c_etime}, {"stime", "STIME", c_stime}, {"start_time", "START", c_stime}, {"bsdstart", "START", c_stime},
};

struct layout {
	struct shown {
		const struct column *c;
		char *title;
	} *v;
	size_t n;
};

static int add_column(struct layout *l, const char *spec, const char *title, struct cs_err **err)
{
	size_t n = strcspn(spec, "=:");
	const char *own = strchr(spec, '=');

	for (size_t i = 0; i < CS_ARRAY_SIZE(columns); i++) {
		if (strlen(columns[i].name) != n || strncasecmp(columns[i].name, spec, n) != 0)
			continue;
		l->v = cs_xreallocarray(l->v, l->n + 1, sizeof(*l->v));
		l->v[l->n++] = (struct shown){&columns[i], cs_xstrdup(own ? own + 1 : title ? title : columns[i].title)};
		return 0;
	}
	return cs_fail(err, CS_ERR_INVALID, 0, "ps column \"%.100s\" is not supported", spec);
}

static int add_list(struct layout *l, const char *list, struct cs_err **err)
{
	cs_autofree char *text = cs_xstrdup(list);

	for (char *p = text; *p;) {
		size_t n = strcspn(p, ", ");
		bool last = !p[n];
		p[n] = 0;
		if (n && add_column(l, p, NULL, err) < 0)
			return -1;
		if (last)
			break;
		p += n + 1;
	}
	return 0;
}

static int add_preset(struct layout *l, const char *const (*preset)[2], size_t n, struct cs_err **err)
{
	for (size_t i = 0; i < n; i++) {
		if (add_column(l, preset[i][0], preset[i][1], err) < 0)
			return -1;
	}
	return 0;
}

/* What of ps(1) is understood: -ef, -e, -f, -A, -a, -x, aux (u, a, x) and -aux, -o/-eo/o list. Everything else is refused by name. */
static int parse_args(const char *args, struct layout *l, struct cs_err **err)
{
	static const char *const full[][2] = {{"user", "UID"}, {"pid", NULL}, {"ppid", NULL}, {"c", NULL}, {"stime", NULL}, {"tname", NULL}, {"time", NULL}, {"cmd", NULL}};
	static const char *const user[][2] = {{"user", NULL}, {"pid", NULL}, {"%cpu", NULL}, {"%mem", NULL}, {"vsz", NULL}, {"rss", NULL},
					      {"tname", NULL}, {"stat", NULL}, {"bsdstart", NULL}, {"bsdtime", NULL}, {"args", NULL}};
	static const char *const plain[][2] = {{"pid", NULL}, {"tname", NULL}, {"time", NULL}, {"ucmd", NULL}};
	cs_autostrv char **words = cs_strv_split(args, ' ');
	static const char *const bsd[][2] = {{"pid", NULL}, {"tname", NULL}, {"stat", NULL}, {"bsdtime", NULL}, {"args", NULL}};
	bool want_full = false, want_user = false, want_bsd = false;

	for (char **w = words; *w; w++) {
		if (strcmp(*w, "-aux") == 0) /* ps(1) takes it for aux, too */
			*w = memmove(*w, *w + 1, strlen(*w));
		const char *p = *w + (**w == '-');
		for (; *p; p++) {
			if (*p == 'o' || *p == 'O') {
				const char *list = p[1] ? p + 1 : w[1] ? *++w : "";
				if (!*list)
					return cs_fail(err, CS_ERR_INVALID, 0, "ps: a list of columns is missing after -o");
				if (add_list(l, list, err) < 0)
					return -1;
				break;
			}
			if (*p == 'f')
				want_full = true;
			else if (*p == 'u' && **w != '-')
				want_user = true;
			else if (*p == 'x')
				want_bsd = true;
			else if (!strchr("eAaw", *p))
				return cs_fail(err, CS_ERR_INVALID, 0, "ps argument \"%.100s\" is not supported; supported are -ef, aux and -o with a list of columns", *w);
		}
	}
	if (l->n)
		return 0;
	return want_user ? add_preset(l, user, CS_ARRAY_SIZE(user), err) :
	       want_full ? add_preset(l, full, CS_ARRAY_SIZE(full), err) :
	       want_bsd	 ? add_preset(l, bsd, CS_ARRAY_SIZE(bsd), err) :
			   add_preset(l, plain, CS_ARRAY_SIZE(plain), err);
}

static void put_rows(const struct layout *l, json_t *list, struct cs_str *out)
{
	size_t i, rows = 0;
	json_t *x;

	json_array_foreach(list, i, x)
	{
		struct proc p;
		if (!read_proc((int64_t)json_integer_value(json_object_get(x, "ProcessId")), &p))
			continue; /* ended meanwhile */
		cs_str_puts(out, rows++ ? ",[" : "[");
		for (size_t k = 0; k < l->n; k++) {
			cs_autofree char *v = l->v[k].c->value(&p);
			cs_str_puts(out, k ? "," : "");
			cs_json_put_string(out, v);
		}
		cs_str_puts(out, "]");
		free(p.cmd);
	}
}

static void layout_done(struct layout *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->v[i].title);
	free(l->v);
}

int cs_container_top(struct cs_engine *e, const char *ref, const char *ps_args, struct cs_str *out, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_auto(layout_done) struct layout l = {0};
	char *text = NULL;

	if (parse_args(cs_empty(ps_args) ? "-ef" : ps_args, &l, err) < 0 || cs_container_get(e, ref, &c, err) < 0)
		return -1;
	cs_autosystem struct cs_system *s = cs_container_system(c);
	if (!s)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "container %s is not running", c->id);
	if (cs_hcs_properties(s->h, "{\"PropertyTypes\":[\"ProcessList\"]}", &text, err) < 0)
		return -1;
	cs_autojson json_t *j = text ? cs_json_parse(text, strlen(text), err) : NULL;
	HcsFree(text);
	if (!j)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "processes of container %s", c->id);
	cs_str_puts(out, "{\"Titles\":[");
	for (size_t i = 0; i < l.n; i++) {
		cs_str_puts(out, i ? "," : "");
		cs_json_put_string(out, l.v[i].title);
	}
	cs_str_puts(out, "],\"Processes\":[");
	put_rows(&l, json_is_array(j) ? j : json_object_get(j, "ProcessList"), out);
	cs_str_puts(out, "]}");
	cs_container_event(c, "top", NULL);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "processes of container %s", c->id) : 0;
}
