/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernel converts, checks and compiles a filter anew at each load, and walks it for each system call of each architecture (seccomp_cache_prepare):
 * with the 870 instructions that libseccomp makes of the default profile that was a twentieth of a start. But what a filter does before it looks at
 * an argument is a function of two numbers, the architecture and the system call, and constant between the few numbers it compares with. So:
 *   1. run it for one call of each such range: the outcome is an answer, or the place where it loads an argument
 *   2. merge neighbours with the same outcome, and write a binary search over the ranges
 *   3. copy what follows those places as it is
 *   4. compare both programs at every boundary; when anything differs the original is used
 * Programs are written from their end, so that the distance of every jump is known when it is written. */
#include "compute/seccomp_shrink.h"

#include <linux/bpf_common.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

#define MAX_PROGRAM 4096 /* BPF_MAXINSNS */
#define MAX_ARCHS 16
#define OFF_NR ((uint32_t)offsetof(struct seccomp_data, nr))
#define OFF_ARCH ((uint32_t)offsetof(struct seccomp_data, arch))

/* ---- running one ---- */

/* Do we know what this does? Only what libseccomp uses: forward jumps within the program, no scratch memory, no index. */
static bool known(const struct sock_filter *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t left = n - i - 1;
		switch (f[i].code) {
		case BPF_LD | BPF_W | BPF_ABS:
			if (f[i].k % 4 || f[i].k >= sizeof(struct seccomp_data) || !left)
				return false;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			if (!left)
				return false;
			break;
		case BPF_JMP | BPF_JA:
			if (f[i].k >= left)
				return false;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
		case BPF_JMP | BPF_JGT | BPF_K:
		case BPF_JMP | BPF_JGE | BPF_K:
		case BPF_JMP | BPF_JSET | BPF_K:
			if (f[i].jt >= left || f[i].jf >= left)
				return false;
			break;
		case BPF_RET | BPF_K:
			break;
		default:
			return false;
		}
	}
	return n > 0 && n <= MAX_PROGRAM;
}

static size_t jump(const struct sock_filter *f, size_t pc, uint32_t a)
{
	bool yes = BPF_OP(f[pc].code) == BPF_JEQ   ? a == f[pc].k
		   : BPF_OP(f[pc].code) == BPF_JGT ? a > f[pc].k
		   : BPF_OP(f[pc].code) == BPF_JGE ? a >= f[pc].k
						   : (a & f[pc].k) != 0;
	return pc + 1 + (yes ? f[pc].jt : f[pc].jf);
}

static unsigned emulate(const struct sock_filter *f, const struct seccomp_data *d)
{
	uint32_t a = 0;

	for (size_t pc = 0;;) {
		if (f[pc].code == (BPF_RET | BPF_K))
			return f[pc].k;
		if (f[pc].code == (BPF_JMP | BPF_JA)) {
			pc += 1 + f[pc].k;
		} else if (BPF_CLASS(f[pc].code) == BPF_JMP) {
			pc = jump(f, pc, a);
		} else {
			if (BPF_CLASS(f[pc].code) == BPF_LD)
				memcpy(&a, (const char *)d + f[pc].k, sizeof(a));
			else
				a &= f[pc].k;
			pc++;
		}
	}
}

unsigned cs_seccomp_emulate(const struct sock_filter *f, size_t n, const struct seccomp_data *d, bool *bad)
{
	*bad = !known(f, n);
	return *bad ? SECCOMP_RET_KILL_PROCESS : emulate(f, d);
}

/* ---- what it does with an architecture and a number ---- */

struct outcome {
	bool answer;    /* k is the answer */
	uint32_t k;     /* else where in the program it goes on, with a load */
};

static bool same(struct outcome x, struct outcome y) { return x.answer == y.answer && x.k == y.k; }

/* False: it depends on more than ranges of the number. */
static bool run(const struct sock_filter *f, uint32_t arch, uint32_t nr, struct outcome *ret)
{
	enum { NOTHING, ARCH, NUMBER } holds = NOTHING;

	for (size_t pc = 0;;) {
		const struct sock_filter *i = &f[pc];
		if (i->code == (BPF_RET | BPF_K)) {
			*ret = (struct outcome){true, i->k};
			return true;
		}
		if (BPF_CLASS(i->code) == BPF_LD) {
			if (i->k != OFF_ARCH && i->k != OFF_NR) {
				*ret = (struct outcome){false, (uint32_t)pc};
				return true;
			}
			holds = i->k == OFF_ARCH ? ARCH : NUMBER;
			pc++;
		} else if (i->code == (BPF_JMP | BPF_JA)) {
			pc += 1 + i->k;
		} else if (BPF_CLASS(i->code) == BPF_JMP && holds == NUMBER && BPF_OP(i->code) != BPF_JSET) {
			pc = jump(f, pc, nr);
		} else if (BPF_CLASS(i->code) == BPF_JMP && holds == ARCH && BPF_OP(i->code) == BPF_JEQ) {
			pc = jump(f, pc, arch);
		} else {
			return false;
		}
	}
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* Every number at which anything can change: sorted, without repetition, 0 first. Caller frees. */
static uint32_t *boundaries(const struct sock_filter *f, size_t n, size_t *ret_n)
{
	uint32_t *v = cs_xmalloc((2 * n + 1) * sizeof(*v));
	size_t m = 0, out = 1;

	v[m++] = 0;
	for (size_t i = 0; i < n; i++) {
		if (BPF_CLASS(f[i].code) != BPF_JMP || f[i].code == (BPF_JMP | BPF_JA))
			continue;
		v[m++] = f[i].k;
		if (f[i].k != UINT32_MAX)
			v[m++] = f[i].k + 1;
	}
	qsort(v, m, sizeof(*v), by_value);
	for (size_t i = 1; i < m; i++)
		if (v[i] != v[out - 1])
			v[out++] = v[i];
	*ret_n = out;
	return v;
}

/* Constants that the architecture is compared with: what follows its load until the next one. False: too many. */
static bool architectures(const struct sock_filter *f, size_t n, uint32_t *ret, size_t *ret_n)
{
	cs_autofree bool *holds = cs_xcalloc(n + 1, sizeof(bool)); /* may the architecture be in A here? */

	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		bool here = f[i].code == (BPF_LD | BPF_W | BPF_ABS) ? f[i].k == OFF_ARCH : holds[i];
		if (!here || BPF_CLASS(f[i].code) == BPF_RET)
			continue;
		if (BPF_CLASS(f[i].code) != BPF_JMP) {
			holds[i + 1] = true;
		} else if (f[i].code == (BPF_JMP | BPF_JA)) {
			holds[i + 1 + f[i].k] = true;
		} else {
			holds[i + 1 + f[i].jt] = holds[i + 1 + f[i].jf] = true;
			bool seen = false;
			for (size_t k = 0; k < *ret_n; k++)
				seen = seen || ret[k] == f[i].k;
			if (seen)
				continue;
			if (*ret_n == MAX_ARCHS)
				return false;
			ret[(*ret_n)++] = f[i].k;
		}
	}
	return true;
}

/* One that is none of them. */
static uint32_t other_arch(const uint32_t *v, size_t n)
{
	for (uint32_t a = 1;; a++) {
		size_t i = 0;
		while (i < n && v[i] != a)
			i++;
		if (i == n)
			return a;
	}
}

/* ---- writing one, from its end ---- */

struct writer {
	const struct sock_filter *in;
	size_t n_in;
	struct sock_filter *buf; /* [MAX_PROGRAM]; instruction number `at` from the end is buf[MAX_PROGRAM - at] */
	size_t at;               /* how many there are */
	bool full;
	/* of one architecture's part */
	bool *needed;            /* [n_in]: to be copied */
	size_t *copied;          /* [n_in]: where it stands, from the end; 0 = nowhere */
	size_t answers[64];      /* where a RET stands */
	uint32_t answer_k[64];
	size_t n_answers;
};

static size_t put(struct writer *w, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (w->at == MAX_PROGRAM)
		w->full = true;
	else
		w->buf[MAX_PROGRAM - ++w->at] = (struct sock_filter){code, jt, jf, k};
	return w->at;
}

/* What comes next, if it is not `to` already, goes to it. */
static void go(struct writer *w, size_t to)
{
	if (w->at != to)
		put(w, BPF_JMP | BPF_JA, 0, 0, (uint32_t)(w->at - to));
}

static size_t put_jump(struct writer *w, uint16_t code, uint32_t k, size_t yes, size_t no)
{
	/* distances are bytes: what lies farther away gets a long jump right behind. The second may push the first out of reach, so one more. */
	for (int i = 0; i < 2; i++) {
		if (w->at - yes > UINT8_MAX - 1)
			yes = put(w, BPF_JMP | BPF_JA, 0, 0, (uint32_t)(w->at - yes));
		if (w->at - no > UINT8_MAX - 1)
			no = put(w, BPF_JMP | BPF_JA, 0, 0, (uint32_t)(w->at - no));
	}
	return put(w, code, (uint8_t)(w->at - yes), (uint8_t)(w->at - no), k);
}

static size_t answer(struct writer *w, uint32_t k)
{
	for (size_t i = 0; i < w->n_answers; i++)
		if (w->answer_k[i] == k)
			return w->answers[i];
	size_t at = put(w, BPF_RET | BPF_K, 0, 0, k);
	if (w->n_answers < CS_ARRAY_SIZE(w->answers)) {
		w->answer_k[w->n_answers] = k;
		w->answers[w->n_answers++] = at;
	}
	return at;
}

/* Whatever can be reached from the places where arguments are loaded. */
static void copy(struct writer *w)
{
	for (size_t i = 0; i < w->n_in; i++) {
		const struct sock_filter *f = &w->in[i];
		if (!w->needed[i] || BPF_CLASS(f->code) == BPF_RET)
			continue;
		if (f->code == (BPF_JMP | BPF_JA))
			w->needed[i + 1 + f->k] = true;
		else if (BPF_CLASS(f->code) == BPF_JMP)
			w->needed[i + 1 + f->jt] = w->needed[i + 1 + f->jf] = true;
		else
			w->needed[i + 1] = true;
	}
	for (size_t i = w->n_in; i-- > 0;) {
		const struct sock_filter *f = &w->in[i];
		if (!w->needed[i])
			continue;
		if (BPF_CLASS(f->code) == BPF_RET) {
			w->copied[i] = answer(w, f->k);
		} else if (f->code == (BPF_JMP | BPF_JA)) {
			w->copied[i] = w->copied[i + 1 + f->k];
		} else if (BPF_CLASS(f->code) == BPF_JMP) {
			w->copied[i] = put_jump(w, f->code, f->k, w->copied[i + 1 + f->jt], w->copied[i + 1 + f->jf]);
		} else {
			go(w, w->copied[i + 1]);
			w->copied[i] = put(w, f->code, 0, 0, f->k);
		}
	}
}

struct range {
	uint32_t from; /* to where the next begins */
	struct outcome o;
};

static size_t leaf(struct writer *w, struct outcome o) { return o.answer ? answer(w, o.k) : w->copied[o.k]; }

static size_t search(struct writer *w, const struct range *v, size_t n)
{
	if (n == 1)
		return leaf(w, v[0].o);
	if (n == 3 && same(v[0].o, v[2].o) && v[2].from - v[1].from == 1) { /* one exception */
		size_t yes = leaf(w, v[1].o), no = leaf(w, v[0].o);
		return put_jump(w, BPF_JMP | BPF_JEQ | BPF_K, v[1].from, yes, no);
	}
	size_t half = n / 2, no = search(w, v, half), yes = search(w, v + half, n - half);
	return put_jump(w, BPF_JMP | BPF_JGE | BPF_K, v[half].from, yes, no);
}

/* The part for one architecture; returns where it begins, 0 when its outcome depends on something else. */
static size_t part(struct writer *w, uint32_t arch, const uint32_t *bounds, size_t n_bounds)
{
	cs_autofree struct range *v = cs_xcalloc(n_bounds, sizeof(*v));
	size_t n = 0;

	memset(w->needed, 0, w->n_in * sizeof(*w->needed));
	memset(w->copied, 0, w->n_in * sizeof(*w->copied));
	w->n_answers = 0;
	for (size_t i = 0; i < n_bounds; i++) {
		struct outcome o;
		if (!run(w->in, arch, bounds[i], &o))
			return 0;
		if (n && same(v[n - 1].o, o))
			continue;
		v[n++] = (struct range){bounds[i], o};
		if (!o.answer)
			w->needed[o.k] = true;
	}
	for (size_t i = 0; i < n; i++) /* first, so that the search is near them all */
		if (v[i].o.answer)
			(void)answer(w, v[i].o.k);
	copy(w);
	size_t tree = search(w, v, n);
	if (n == 1 && v[0].o.answer)
		return tree;
	go(w, tree);
	return put(w, BPF_LD | BPF_W | BPF_ABS, 0, 0, OFF_NR);
}

/* ---- both give the same answers ---- */

static bool equal(const struct sock_filter *x, size_t nx, const struct sock_filter *y, size_t ny, const uint32_t *archs, size_t n_archs, const uint32_t *nr,
		  size_t n_nr)
{
	static const uint64_t args[] = {0, 1, 2, 8, 0x20008, 16, 0x7e020000, 0x10000000, ~0ull, 0xffffffff, 0x1ffffffff, 0x123456789abcdef0};

	if (!known(x, nx) || !known(y, ny))
		return false;
	for (size_t a = 0; a < n_archs; a++)
		for (size_t i = 0; i < 2 * n_nr; i++) {
			struct seccomp_data d = {.nr = (int)(nr[i / 2] - i % 2), .arch = archs[a]};
			struct outcome o;
			if (!run(x, archs[a], (uint32_t)d.nr, &o))
				return false;
			for (size_t k = 0; k < (o.answer ? 1 : CS_ARRAY_SIZE(args)); k++) {
				for (size_t j = 0; j < CS_ARRAY_SIZE(d.args); j++)
					d.args[j] = args[(k * (j + 1)) % CS_ARRAY_SIZE(args)];
				if (emulate(x, &d) != emulate(y, &d))
					return false;
			}
		}
	return true;
}

bool cs_seccomp_shrink(const struct sock_filter *in, size_t n, struct sock_filter **ret, size_t *ret_n)
{
	uint32_t archs[MAX_ARCHS + 1];
	size_t n_archs, n_bounds, begin[MAX_ARCHS + 1] = {0};

	if (!known(in, n) || !architectures(in, n, archs, &n_archs))
		return false;
	archs[n_archs] = other_arch(archs, n_archs);
	cs_autofree uint32_t *bounds = boundaries(in, n, &n_bounds);
	cs_autofree bool *needed = cs_xcalloc(n, sizeof(*needed));
	cs_autofree size_t *copied = cs_xcalloc(n, sizeof(*copied));
	cs_autofree struct sock_filter *buf = cs_xcalloc(MAX_PROGRAM, sizeof(*buf));
	struct writer w = {.in = in, .n_in = n, .buf = buf, .needed = needed, .copied = copied};

	for (size_t i = n_archs + 1; i-- > 0;) {
		begin[i] = part(&w, archs[i], bounds, n_bounds);
		if (!begin[i] || w.full)
			return false;
	}
	go(&w, begin[n_archs]);
	for (size_t i = n_archs; i-- > 0;)
		(void)put_jump(&w, BPF_JMP | BPF_JEQ | BPF_K, archs[i], begin[i], w.at);
	(void)put(&w, BPF_LD | BPF_W | BPF_ABS, 0, 0, OFF_ARCH);
	const struct sock_filter *out = buf + MAX_PROGRAM - w.at;
	if (w.full || w.at >= n || !equal(in, n, out, w.at, archs, n_archs + 1, bounds, n_bounds))
		return false;
	*ret = cs_xmalloc(w.at * sizeof(**ret));
	memcpy(*ret, out, w.at * sizeof(**ret));
	*ret_n = w.at;
	return true;
}
