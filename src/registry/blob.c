/* SPDX-License-Identifier: Apache-2.0
 *
 * Blobs out of a repository, driven by the thread that reads them. A transfer that breaks, stalls or ends early goes on where it was, as long
 * as attempts are left; never more bytes than were announced. Bytes that came set the count of attempts back, so that a long transfer over a
 * bad line gets through, and a registry that gives nothing does not hold us. */
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"
#include "registry/internal.h"

#define PROGRESS_MIN (1 << 20) /* so much since the last break, and the attempts count anew */
#define SKIP_BUF 65536

struct cs_remote_blob {
	struct cs_repo *repo;
	struct cs_rg_endpoint *ep;
	char digest[72];
	int64_t size, offset, skip; /* skip: bytes of this answer that we have already */
	int64_t mark;               /* offset at the last break */
	unsigned attempt;           /* since the mark moved */
	size_t start, step;         /* of the walk over endpoints */
	int cancel_fd;
	bool no_range; /* the registry does not do ranges */
	struct cs_rg_xfer *x;
	struct cs_err *error;
};

enum verdict { GOOD, AGAIN, NEXT /* another endpoint */, FATAL };

static int cancel_of(const struct cs_remote_blob *b) { return b->cancel_fd == CS_RG_SESSION_FD ? b->repo->client.cancel_fd : b->cancel_fd; }

static enum verdict of_fault(enum cs_rg_fault fault)
{
	switch (fault) {
	case CS_RG_CANCELLED:
	case CS_RG_SOURCE:
	case CS_RG_FINE:
		return FATAL;
	case CS_RG_UNTRUSTED:
	case CS_RG_NONSENSE:
		return NEXT;
	case CS_RG_UNREACHABLE:
	case CS_RG_NOT_TLS:
	case CS_RG_BROKEN:
	case CS_RG_STALLED:
		return AGAIN;
	}
	return FATAL;
}

/* ---- answers ---- */

static enum verdict refused(struct cs_remote_blob *b, const struct cs_rg_response *resp, struct cs_err **err)
{
	cs_autostr struct cs_str body = CS_STR_INIT(CS_RG_ERROR_BODY);
	enum cs_rg_fault fault;
	enum cs_rg_why why;

	(void)!cs_rg_xfer_slurp(b->x, &body, &fault, NULL);
	if (fault == CS_RG_CANCELLED) {
		(void)cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
		return FATAL;
	}
	cs_autofree char *text = cs_rg_refusal(resp, body.buf, body.len, &why);
	if (resp->status == 404)
		(void)cs_fail(err, CS_ERR_NOT_FOUND, 0, "unknown blob");
	else
		(void)cs_fail(err, why == CS_RG_WHY_UNAUTHORIZED ? CS_ERR_UNAUTHORIZED : why == CS_RG_WHY_DENIED ? CS_ERR_DENIED : CS_ERR_INTERNAL, 0, "%s", text);
	return cs_rg_worth_again(resp->status) ? AGAIN : NEXT;
}

/* A whole blob, although the rest of it may have been asked for. */
static enum verdict take_whole(struct cs_remote_blob *b, const struct cs_rg_response *resp, struct cs_err **err)
{
	if (resp->content_length >= 0 && b->size >= 0 && resp->content_length != b->size) {
		(void)cs_fail(err, CS_ERR_INTERNAL, 0, "the registry says that it has %lld bytes, but its manifest %lld", (long long)resp->content_length,
			      (long long)b->size);
		return NEXT;
	}
	if (b->size < 0)
		b->size = resp->content_length;
	b->skip = b->offset;
	return GOOD;
}

static enum verdict take_part(struct cs_remote_blob *b, const struct cs_rg_response *resp, struct cs_err **err)
{
	struct cs_rg_range range;

	if (b->offset > 0 && resp->content_range && cs_rg_content_range(resp->content_range, &range) && range.first == b->offset &&
	    (range.total < 0 || b->size < 0 || range.total == b->size) && (b->size < 0 || range.last < b->size)) {
		b->skip = 0;
		return GOOD;
	}
	(void)cs_fail(err, CS_ERR_INTERNAL, 0, "the registry answers with another part than was asked for (\"%.100s\")",
		      resp->content_range ? resp->content_range : "");
	b->no_range = true; /* from the start then, and what we have is skipped */
	return AGAIN;
}

static enum verdict judge(struct cs_remote_blob *b, struct cs_err **err)
{
	const struct cs_rg_response *resp = cs_rg_xfer_response(b->x);

	if (resp->status == 200)
		return take_whole(b, resp, err);
	if (resp->status == 206)
		return take_part(b, resp, err);
	if (resp->status == 416 && b->offset > 0 && !b->no_range) {
		b->no_range = true;
		(void)cs_fail(err, CS_ERR_INTERNAL, 0, "the registry cannot go on at byte %lld", (long long)b->offset);
		return AGAIN;
	}
	return refused(b, resp, err);
}

/* ---- attempts ---- */

/* One request to the endpoint of the moment. *pause_ms: what the registry asks for, or -1 for our own choice. */
static enum verdict request(struct cs_remote_blob *b, int64_t *pause_ms, struct cs_err **err)
{
	cs_autofree char *range = b->offset > 0 && !b->no_range ? cs_xasprintf("Range: bytes=%lld-", (long long)b->offset) : NULL;
	cs_autofree char *url = NULL;
	char *const headers[] = {(char[]){"Accept-Encoding: identity"}, range, NULL};
	struct cs_rg_request q = {.method = "GET", .headers = headers, .size = -1, .cancel_fd = b->cancel_fd, .big = true};
	enum cs_rg_fault fault;

	if (cs_rg_endpoint_ready(b->repo, b->ep, b->cancel_fd, err) < 0)
		return cs_err_code(*err) == CS_ERR_CANCELLED ? FATAL : NEXT;
	url = cs_rg_repo_url(b->repo, b->ep, "blobs", b->digest);
	q.url = url;
	if (cs_rg_send(b->repo, b->ep, &q, NULL, &b->x, &fault, err) < 0)
		return of_fault(fault);
	enum verdict v = judge(b, err);
	if (v == GOOD)
		return v;
	*pause_ms = v == AGAIN ? cs_rg_pause(b->repo->client.reg, b->attempt + 1, cs_rg_xfer_response(b->x)) : -1;
	if (v == AGAIN && *pause_ms < 0)
		v = NEXT; /* it asks for more patience than we have */
	cs_rg_xfer_close(TAKE_PTR(b->x));
	return v;
}

/* After a failure: false when it is final. Waits. */
static bool once_more(struct cs_remote_blob *b, enum verdict v, int64_t pause_ms, struct cs_err **err)
{
	const struct cs_registry *reg = b->repo->client.reg;

	if (v == FATAL)
		return false;
	if (b->offset - b->mark >= PROGRESS_MIN)
		b->attempt = 0;
	b->mark = b->offset;
	b->attempt++;
	if (v == NEXT || (int64_t)b->attempt >= reg->max_attempts) {
		struct cs_rg_endpoint *next;
		do
			next = cs_rg_walk(b->repo, b->start, ++b->step);
		while (next && !next->can_pull);
		if (!next)
			return false;
		b->ep = next;
		b->attempt = 0;
		b->no_range = false;
		return true;
	}
	if (pause_ms < 0)
		pause_ms = cs_rg_pause(reg, b->attempt, NULL);
	if (cs_log_level() >= CS_LOG_DEBUG) {
		cs_autofree char *text = cs_err_text(*err);
		cs_logk(CS_LOG_DEBUG, "registry", "blob", b->digest, "at byte %lld: %s; again in %lld ms", (long long)b->offset, text, (long long)pause_ms);
	}
	if (b->repo->on_retry)
		b->repo->on_retry(b->repo->ctx, b->digest, (unsigned)((pause_ms + 999) / 1000));
	if (cs_rg_sleep(cancel_of(b), pause_ms))
		return true;
	cs_err_free(*err);
	*err = NULL;
	(void)cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
	return false;
}

/* Gets an answer that goes on at b->offset. e: why the transfer before ended, or NULL at the first; always freed or kept in b->error. */
static int connect_blob(struct cs_remote_blob *b, enum verdict v, struct cs_err *e)
{
	int64_t pause_ms = -1;

	while (!e || once_more(b, v, pause_ms, &e)) {
		cs_err_free(e);
		e = NULL;
		pause_ms = -1;
		v = request(b, &pause_ms, &e);
		if (v == GOOD)
			return 0;
	}
	b->error = e;
	(void)cs_wrap(&b->error, "blob %s", b->digest);
	return -1;
}

/* ---- reading ---- */

static ssize_t broken(struct cs_remote_blob *b, enum verdict v, struct cs_err *e)
{
	cs_rg_xfer_close(TAKE_PTR(b->x));
	return connect_blob(b, v, e);
}

/* Bytes of the answer of the moment: > 0, 0 its end, -1 with *v and *err. */
static ssize_t read_answer(struct cs_remote_blob *b, void *buf, size_t max, enum verdict *v, struct cs_err **err)
{
	enum cs_rg_fault fault;
	ssize_t n = cs_rg_xfer_read(b->x, buf, max, &fault, err);

	if (n < 0)
		*v = of_fault(fault);
	return n;
}

static ssize_t skip(struct cs_remote_blob *b, enum verdict *v, struct cs_err **err)
{
	cs_autofree char *buf = cs_xmalloc(SKIP_BUF);

	while (b->skip > 0) {
		ssize_t n = read_answer(b, buf, (size_t)CS_MIN(b->skip, (int64_t)SKIP_BUF), v, err);
		if (n < 0)
			return -1;
		if (n == 0) {
			*v = AGAIN;
			return cs_fail(err, CS_ERR_INTERNAL, 0, "unexpected EOF");
		}
		b->skip -= n;
	}
	return 1;
}

/* At the announced end: is there more, or less? */
static ssize_t finish(struct cs_remote_blob *b, enum verdict *v, struct cs_err **err)
{
	char more;
	ssize_t n = read_answer(b, &more, 1, v, err);

	if (n > 0) {
		*v = FATAL;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "the registry sends more than the %lld bytes of its manifest", (long long)b->size);
	}
	if (n < 0 && *v == FATAL)
		return -1;
	if (n < 0 && err) { /* all bytes are here; how the connection ended does not matter */
		cs_err_free(*err);
		*err = NULL;
	}
	return 0;
}

static ssize_t step_read(struct cs_remote_blob *b, void *buf, size_t max, enum verdict *v, struct cs_err **err)
{
	ssize_t n = skip(b, v, err);

	if (n < 0)
		return -1;
	if (b->size >= 0 && b->offset == b->size)
		return finish(b, v, err);
	if (b->size >= 0)
		max = (size_t)CS_MIN((int64_t)CS_MIN(max, (size_t)SSIZE_MAX), b->size - b->offset);
	n = read_answer(b, buf, max, v, err);
	if (n == 0 && b->size >= 0) {
		*v = AGAIN;
		return cs_fail(err, CS_ERR_INTERNAL, 0, "unexpected EOF");
	}
	if (n > 0)
		b->offset += n;
	return n;
}

ssize_t cs_remote_blob_read(struct cs_remote_blob *b, void *buf, size_t max)
{
	if (b->error)
		return -EIO;
	if (max == 0)
		return 0;
	while (b->x) {
		struct cs_err *e = NULL;
		enum verdict v = AGAIN;
		ssize_t n = step_read(b, buf, max, &v, &e);
		if (n > 0)
			return n;
		if (n == 0) {
			cs_rg_xfer_close(TAKE_PTR(b->x));
			return 0;
		}
		if (broken(b, v, e) < 0)
			return cs_err_code(b->error) == CS_ERR_CANCELLED ? -ECANCELED : -EIO;
	}
	return 0; /* the end was told already */
}

/* ---- from outside ---- */

static int check_digest(const char *digest, struct cs_err **err)
{
	return cs_rg_digest_valid(digest) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid checksum digest format: %.100s", digest);
}

int cs_remote_blob_open(struct cs_repo *r, const char *digest, int64_t size, int cancel_fd, struct cs_remote_blob **ret, struct cs_err **err)
{
	return cs_remote_blob_open_at(r, digest, size, 0, cancel_fd, ret, err);
}

int cs_remote_blob_open_at(struct cs_repo *r, const char *digest, int64_t size, int64_t offset, int cancel_fd, struct cs_remote_blob **ret, struct cs_err **err)
{
	struct cs_remote_blob *b;

	if (check_digest(digest, err) < 0)
		return -1;
	if (size < -1 || offset < 0 || (offset && offset >= size))
		return cs_fail(err, CS_ERR_INVALID, 0, "blob %s: impossible size", digest);
	b = cs_xcalloc(1, sizeof(*b));
	*b = (struct cs_remote_blob){.repo = r, .size = size, .offset = offset, .mark = offset, .cancel_fd = cancel_fd, .start = cs_rg_walk_start(r)};
	(void)snprintf(b->digest, sizeof(b->digest), "%s", digest);
	for (; (b->ep = cs_rg_walk(r, b->start, b->step)) && !b->ep->can_pull && !r->push; b->step++)
		;
	if (!b->ep) {
		free(b);
		return cs_fail(err, CS_ERR_INVALID, 0, "no endpoint of %s may be used to pull", r->host);
	}
	if (connect_blob(b, GOOD, NULL) < 0) {
		(void)cs_remote_blob_take_error(b, err);
		cs_remote_blob_close(b);
		return -1;
	}
	*ret = b;
	return 0;
}

const struct cs_err *cs_remote_blob_error(const struct cs_remote_blob *b) { return b->error; }
int64_t cs_remote_blob_size(const struct cs_remote_blob *b) { return b->size; }

int cs_remote_blob_take_error(struct cs_remote_blob *b, struct cs_err **err)
{
	return cs_err_move(err, TAKE_PTR(b->error));
}

void cs_remote_blob_close(struct cs_remote_blob *b)
{
	if (!b)
		return;
	cs_rg_xfer_close(b->x);
	cs_err_free(b->error);
	free(b);
}

static int read_all(struct cs_remote_blob *b, struct cs_str *out, struct cs_err **err)
{
	for (;;) {
		size_t room = CS_MIN((size_t)SKIP_BUF, out->max - out->len);
		char extra, *p = room > 0 ? cs_str_reserve(out, room) : &extra;
		if (!p)
			return cs_fail(err, CS_ERR_INTERNAL, ENOMEM, "blob %s", b->digest);
		ssize_t n = cs_remote_blob_read(b, p, room > 0 ? room : 1);
		if (n < 0)
			return cs_remote_blob_take_error(b, err);
		if (n == 0)
			return 0;
		if (room == 0)
			return cs_fail(err, CS_ERR_INTERNAL, 0, "blob %s is larger than %zu bytes", b->digest, out->max);
		out->len += (size_t)n;
	}
}

int cs_repo_blob_get(struct cs_repo *r, const char *digest, int64_t size, size_t max, struct cs_str *out, struct cs_err **err)
{
	struct cs_str body = CS_STR_INIT(max);
	struct cs_remote_blob *b;
	char hex[65];
	int ok;

	if (size >= 0 && (uint64_t)size > max)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "blob %.100s has %lld bytes, which is more than %zu", digest, (long long)size, max);
	if (cs_remote_blob_open(r, digest, size, CS_RG_SESSION_FD, &b, err) < 0)
		return -1;
	ok = read_all(b, &body, err);
	cs_remote_blob_close(b);
	if (ok == 0) {
		cs_sha256_hex_of(body.buf ? body.buf : "", body.len, hex);
		if (strcmp(hex, digest + strlen("sha256:")) != 0)
			ok = cs_fail(err, CS_ERR_INTERNAL, 0, "blob %s: what the registry sent has the digest sha256:%s", digest, hex);
	}
	if (ok == 0)
		cs_str_put(out, body.buf, body.len);
	cs_str_done(&body);
	return ok == 0 && out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "blob %s does not fit", digest) : ok;
}

int cs_repo_blob_head(struct cs_repo *r, const char *digest, int64_t *ret_size, struct cs_err **err)
{
	struct cs_rg_endpoint *ep = cs_rg_walk(r, cs_rg_walk_start(r), 0);
	struct cs_rg_answer a = {0};
	enum cs_rg_why why;
	int ok = 0;

	if (check_digest(digest, err) < 0)
		return -1;
	cs_autofree char *url = cs_rg_repo_url(r, ep, "blobs", digest);
	struct cs_rg_request q = {.method = "HEAD", .url = url, .size = -1, .cancel_fd = CS_RG_SESSION_FD};
	if (cs_rg_fetch(r, ep, &q, CS_RG_ERROR_BODY, &a, err) < 0)
		return -1;
	if (a.head.status == 404) {
		ok = cs_fail(err, CS_ERR_NOT_FOUND, 0, "blob %s: unknown blob", digest);
	} else if (a.head.status != 200) {
		cs_autofree char *text = cs_rg_refusal(&a.head, a.body.buf, a.body.len, &why);
		ok = cs_fail(err, a.head.status == 403 || why == CS_RG_WHY_DENIED ? CS_ERR_DENIED : a.head.status == 401 ? CS_ERR_UNAUTHORIZED : CS_ERR_INTERNAL, 0, "%s", text);
	} else if (ret_size) {
		*ret_size = a.head.content_length;
	}
	cs_rg_answer_done(&a);
	return ok;
}
