/* SPDX-License-Identifier: Apache-2.0
 *
 * Builder and reader of plans. Layout: 8 bytes of magic, then records, everything 8-byte aligned and in host order (a plan never
 * leaves the machine):
 *   record  u32 op, u32 size of the record with this header, arguments
 *   u       u64                s, b  u32 length (s: with its NUL), u32 0, bytes, padding
 *   v       u32 count, u32 length of all strings with their NULs, bytes, padding
 * The reader trusts nothing: lengths, terminators, counts and reserved fields are checked before a pointer is handed out. No threads. */
#include "compute/process/plan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/sys.h"

#define MAGIC "CSPLAN\001\n"
#define MAGIC_LEN 8

struct record {
	uint32_t op, size;
};

static const struct {
	const char *name, *sig;
} ops[CS_PLAN_MAX - CS_PLAN_NONE] = {
#define X(nm, sg) [CS_PLAN_##nm - CS_PLAN_NONE] = {#nm, sg},
	CS_PLAN_OPS(X)
#undef X
};

static bool op_valid(uint32_t op) { return op > CS_PLAN_NONE && op < CS_PLAN_MAX; }
static size_t pad8(size_t n) { return (n + 7) & ~(size_t)7; }

static size_t strv_bytes(char *const *v, uint32_t *ret_n)
{
	size_t n = 0;

	*ret_n = 0;
	for (; v && *v; v++, (*ret_n)++)
		n += strlen(*v) + 1;
	return n;
}

static void put_head(struct cs_str *plan, uint32_t a, uint32_t b)
{
	uint32_t h[2] = {a, b};
	cs_str_put(plan, h, sizeof(h));
}

static void put_pad(struct cs_str *plan, size_t len)
{
	static const char zero[8];
	cs_str_put(plan, zero, pad8(len) - len);
}

void cs_plan_add(struct cs_str *plan, enum cs_plan_op op, ...)
{
	size_t start;
	va_list ap;

	if (plan->len == 0)
		cs_str_put(plan, MAGIC, MAGIC_LEN);
	start = plan->len;
	put_head(plan, (uint32_t)op, 0);
	va_start(ap, op);
	for (const char *sig = op_valid(op) ? ops[op - CS_PLAN_NONE].sig : ""; *sig && !plan->failed; sig++) {
		if (*sig == 'u') {
			uint64_t u = va_arg(ap, uint64_t);
			cs_str_put(plan, &u, sizeof(u));
		} else if (*sig == 'v') {
			char *const *v = va_arg(ap, char *const *);
			uint32_t n;
			size_t len = strv_bytes(v, &n);
			put_head(plan, n, (uint32_t)len);
			for (; v && *v; v++)
				cs_str_put(plan, *v, strlen(*v) + 1);
			put_pad(plan, len);
		} else {
			const char *data = va_arg(ap, const char *);
			size_t len;
			if (*sig == 's') {
				data = data ? data : "";
				len = strlen(data) + 1;
			} else {
				len = va_arg(ap, size_t);
			}
			if (len > CS_PLAN_MAX_SIZE) {
				plan->failed = true;
				break;
			}
			put_head(plan, (uint32_t)len, 0);
			cs_str_put(plan, data, len);
			put_pad(plan, len);
		}
	}
	va_end(ap);
	if (plan->len > CS_PLAN_MAX_SIZE || !op_valid(op))
		plan->failed = true;
	if (!plan->failed) {
		uint32_t size = (uint32_t)(plan->len - start);
		memcpy(plan->buf + start + offsetof(struct record, size), &size, sizeof(size));
	}
}

int cs_plan_to_memfd(const struct cs_str *plan, int *ret_fd, struct cs_err **err)
{
	if (plan->failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "the container's configuration is too large (more than %u MiB)", CS_PLAN_MAX_SIZE >> 20);
	cs_autofd int fd = sys_memfd_create("caisson-plan", MFD_ALLOW_SEALING);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -fd, "create memfd for plan");
	int r = plan->len ? cs_write_full(fd, plan->buf, plan->len) : cs_write_full(fd, MAGIC, MAGIC_LEN);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "write plan");
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "seal plan");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

int cs_plan_map(int fd, struct cs_plan *ret)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0)
		return -errno;
	/* an unsealed plan could change after a check, or shrink and kill us with SIGBUS */
	if ((seals & (F_SEAL_SHRINK | F_SEAL_WRITE)) != (F_SEAL_SHRINK | F_SEAL_WRITE))
		return -EPERM;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size < MAGIC_LEN || st.st_size > (off_t)CS_PLAN_MAX_SIZE)
		return -EBADMSG;
	void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = (struct cs_plan){.data = p, .len = (size_t)st.st_size};
	return 0;
}

void cs_plan_unmap(struct cs_plan *p)
{
	if (p->data)
		(void)munmap((void *)(uintptr_t)p->data, p->len);
	*p = (struct cs_plan){0};
}

/* Header of the record at c->pos; 1, 0 at the end, or -EBADMSG. */
static int next_record(struct cs_plan_cursor *c, struct record *rec)
{
	const struct cs_plan *p = c->plan;

	if (p->len == 0)
		return 0;
	if (c->pos == 0) {
		if (p->len < MAGIC_LEN || p->len > CS_PLAN_MAX_SIZE || ((uintptr_t)p->data & 7) || memcmp(p->data, MAGIC, MAGIC_LEN) != 0)
			return -EBADMSG;
		c->pos = MAGIC_LEN;
	}
	if (c->pos == p->len)
		return 0;
	if (c->pos > p->len || p->len - c->pos < sizeof(*rec))
		return -EBADMSG;
	memcpy(rec, p->data + c->pos, sizeof(*rec));
	if (!op_valid(rec->op) || rec->size < sizeof(*rec) || rec->size % 8 || rec->size > p->len - c->pos)
		return -EBADMSG;
	return 1;
}

/* One argument out of [*at, end); 0 or -EBADMSG. */
static int read_arg(char sig, const char **at, const char *end, union cs_plan_arg *arg)
{
	uint32_t h[2];

	if ((size_t)(end - *at) < 8)
		return -EBADMSG;
	if (sig == 'u') {
		memcpy(&arg->u, *at, 8);
		*at += 8;
		return 0;
	}
	memcpy(h, *at, sizeof(h));
	const char *data = *at + sizeof(h);
	size_t len = sig == 'v' ? h[1] : h[0];
	if (len > CS_PLAN_MAX_SIZE || pad8(len) > (size_t)(end - data) || (sig != 'v' && h[1] != 0))
		return -EBADMSG;
	*at = data + pad8(len);
	if (sig == 'b') {
		arg->b.data = data;
		arg->b.len = (uint32_t)len;
	} else if (sig == 's') {
		if (len == 0 || memchr(data, 0, len) != data + len - 1)
			return -EBADMSG;
		arg->s = data;
	} else {
		size_t count = 0;
		for (const char *p = data; p < data + len; count++) {
			const char *nul = memchr(p, 0, (size_t)(data + len - p));
			if (!nul)
				return -EBADMSG;
			p = nul + 1;
		}
		if (count != h[0])
			return -EBADMSG;
		arg->v.first = data;
		arg->v.n = h[0];
	}
	return 0;
}

int cs_plan_next(struct cs_plan_cursor *c, struct cs_step *step)
{
	struct record rec;
	int r = next_record(c, &rec);

	if (r <= 0)
		return r;
	const char *at = c->plan->data + c->pos + sizeof(rec), *end = c->plan->data + c->pos + rec.size;
	step->op = (enum cs_plan_op)rec.op;
	const char *sig = ops[rec.op - CS_PLAN_NONE].sig;
	for (size_t i = 0; sig[i]; i++) {
		r = read_arg(sig[i], &at, end, &step->arg[i]);
		if (r < 0)
			return r;
	}
	if (at != end)
		return -EBADMSG;
	c->last = c->pos;
	c->pos += rec.size;
	return 1;
}

void cs_plan_add_step(struct cs_str *plan, const struct cs_plan_cursor *c)
{
	if (plan->len == 0)
		cs_str_put(plan, MAGIC, MAGIC_LEN);
	cs_str_put(plan, c->plan->data + c->last, c->pos - c->last);
}

int cs_plan_find(const struct cs_plan *p, enum cs_plan_op op, struct cs_step *step)
{
	struct cs_plan_cursor c = {.plan = p};
	struct record rec;
	int r;

	while ((r = next_record(&c, &rec)) == 1) {
		if (rec.op == (uint32_t)op)
			return cs_plan_next(&c, step);
		c.pos += rec.size;
	}
	return r;
}

const char **cs_plan_strv(const union cs_plan_arg *arg)
{
	const char **v = cs_xreallocarray(NULL, (size_t)arg->v.n + 1, sizeof(*v));
	const char *p = arg->v.first;

	for (uint32_t i = 0; i < arg->v.n; i++) {
		v[i] = p;
		p += strlen(p) + 1;
	}
	v[arg->v.n] = NULL;
	return v;
}

static void dump_string(struct cs_str *out, const char *s)
{
	bool plain = *s != 0;

	for (const char *p = s; *p && plain; p++)
		plain = (unsigned char)*p > ' ' && (unsigned char)*p < 0x7f && !strchr("\"\\[]", *p);
	if (plain) {
		cs_str_puts(out, s);
		return;
	}
	cs_str_putc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			cs_str_putf(out, "\\%c", *s);
		else if ((unsigned char)*s < ' ' || *s == 0x7f)
			cs_str_putf(out, "\\x%02x", (unsigned char)*s);
		else
			cs_str_putc(out, *s);
	}
	cs_str_putc(out, '"');
}

/* Flag words are shown in hex and permissions in octal, everything else in decimal. */
static void dump_number(struct cs_str *out, enum cs_plan_op op, size_t i, uint64_t u)
{
	bool hex = op == CS_PLAN_CLONE || op == CS_PLAN_ROOT_PROPAGATION || op == CS_PLAN_CAPS || op == CS_PLAN_SECCOMP ||
		   (op == CS_PLAN_SETNS && i == 0) || (op == CS_PLAN_MOUNT && (i == 3 || i == 5)) || (op == CS_PLAN_BIND && (i == 3 || i == 5)) ||
		   (op == CS_PLAN_BIND_BENEATH && (i == 5 || i == 7));
	bool octal = op == CS_PLAN_UMASK || (op == CS_PLAN_DEVICE && (i == 1 || i == 4));

	if (u && hex)
		cs_str_putf(out, "0x%" PRIx64, u);
	else if (u && octal)
		cs_str_putf(out, "0%" PRIo64, u);
	else
		cs_str_put_u64(out, u);
}

/* Short byte strings in full, long ones (filters) by length and FNV-1a, enough to compare. */
static void dump_bytes(struct cs_str *out, const unsigned char *p, uint32_t len)
{
	uint64_t h = 0xcbf29ce484222325u;

	if (len <= 32) {
		cs_str_puts(out, "x:");
		for (uint32_t i = 0; i < len; i++)
			cs_str_putf(out, "%02x", p[i]);
		return;
	}
	for (uint32_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3u;
	cs_str_putf(out, "bytes:%u:%016" PRIx64, len, h);
}

void cs_plan_dump(const struct cs_plan *p, struct cs_str *out)
{
	struct cs_plan_cursor c = {.plan = p};
	struct cs_step step;
	int r;

	while ((r = cs_plan_next(&c, &step)) == 1) {
		const char *sig = ops[step.op - CS_PLAN_NONE].sig;
		cs_str_puts(out, ops[step.op - CS_PLAN_NONE].name);
		for (size_t i = 0; sig[i]; i++) {
			const union cs_plan_arg *a = &step.arg[i];
			cs_str_putc(out, ' ');
			if (sig[i] == 'u') {
				dump_number(out, step.op, i, a->u);
			} else if (sig[i] == 's') {
				dump_string(out, a->s);
			} else if (sig[i] == 'b') {
				dump_bytes(out, a->b.data, a->b.len);
			} else {
				const char *s = a->v.first;
				cs_str_putc(out, '[');
				for (uint32_t k = 0; k < a->v.n; k++, s += strlen(s) + 1) {
					if (k)
						cs_str_putc(out, ' ');
					dump_string(out, s);
				}
				cs_str_putc(out, ']');
			}
		}
		cs_str_putc(out, '\n');
	}
	if (r < 0)
		cs_str_puts(out, "(malformed)\n");
}
