/* SPDX-License-Identifier: Apache-2.0
 *
 * Blobs into a repository: taken over from another repository of the same registry, or sent in one piece. A broken upload starts again from the
 * beginning, with an upload session of its own. */
#include "registry/internal.h"

static int check(const char *digest, struct cs_err **err)
{
	return cs_rg_digest_valid(digest) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "invalid checksum digest format: %.100s", digest);
}

/* Reads the answer's body and closes; the error of a status that is none of ours. */
static int refused(struct cs_rg_xfer *x, struct cs_err **err)
{
	const struct cs_rg_response *resp = cs_rg_xfer_response(x);
	cs_autostr struct cs_str body = CS_STR_INIT(CS_RG_ERROR_BODY);
	enum cs_rg_fault fault;
	enum cs_rg_why why;

	(void)!cs_rg_xfer_slurp(x, &body, &fault, NULL);
	cs_autofree char *text = cs_rg_refusal(resp, body.buf, body.len, &why);
	int r = cs_fail(err, why == CS_RG_WHY_DENIED ? CS_ERR_DENIED : why == CS_RG_WHY_UNAUTHORIZED ? CS_ERR_UNAUTHORIZED : CS_ERR_INTERNAL, 0, "%s", text);
	cs_rg_xfer_close(x);
	return r;
}

static void finish(struct cs_rg_xfer *x)
{
	cs_autostr struct cs_str body = CS_STR_INIT(CS_RG_ERROR_BODY);
	enum cs_rg_fault fault;

	(void)!cs_rg_xfer_slurp(x, &body, &fault, NULL);
	cs_rg_xfer_close(x);
}

/* Where an upload goes on, with what is appended to its query. NULL with an error when the registry does not say. */
static char *location(struct cs_rg_xfer *x, const char *more, struct cs_err **err)
{
	const struct cs_rg_response *resp = cs_rg_xfer_response(x);
	cs_autofree char *url = resp->location ? cs_rg_url_join(resp->url, resp->location) : NULL;

	if (!url) {
		(void)cs_fail(err, CS_ERR_INTERNAL, 0, "the registry does not say where to upload to");
		return NULL;
	}
	return cs_xasprintf("%s%s%s", url, strchr(url, '?') ? "&" : "?", more);
}

/* One attempt at an upload. */
struct attempt {
	unsigned number; /* 1 = the first */
	enum cs_rg_fault fault;
	int64_t pause_ms; /* that the registry asks for; -1: it does not */
};

/* As refused. Whether and when it is worth another attempt. */
static int refused_upload(struct cs_repo *r, struct cs_rg_xfer *x, struct attempt *a, struct cs_err **err)
{
	const struct cs_rg_response *resp = cs_rg_xfer_response(x);
	int64_t ms = cs_rg_pause(r->client.reg, a->number, resp);

	a->fault = cs_rg_worth_again(resp->status) && ms >= 0 ? CS_RG_BROKEN : CS_RG_NONSENSE;
	a->pause_ms = resp->retry_after ? ms : -1;
	return refused(x, err);
}

/* POST …/blobs/uploads/: *ret_url is where the bytes go. */
static int begin(struct cs_repo *r, struct cs_rg_endpoint *ep, const char *digest, int cancel_fd, char **ret_url, struct attempt *a, struct cs_err **err)
{
	cs_autofree char *url = cs_rg_repo_url(r, ep, "blobs/uploads", ""), *more = cs_xasprintf("digest=sha256%%3A%s", digest + strlen("sha256:"));
	struct cs_rg_request q = {.method = "POST", .url = url, .data = "", .size = 0, .cancel_fd = cancel_fd};
	struct cs_rg_xfer *x;

	if (cs_rg_send(r, ep, &q, NULL, &x, &a->fault, err) < 0)
		return -1;
	if (cs_rg_xfer_response(x)->status != 202)
		return refused_upload(r, x, a, err);
	a->fault = CS_RG_NONSENSE;
	*ret_url = location(x, more, err);
	finish(x);
	return *ret_url ? 0 : -1;
}

static int push_once(struct cs_repo *r, struct cs_rg_endpoint *ep, const char *digest, const struct cs_upload_source *src, int cancel_fd,
		     struct attempt *a, struct cs_err **err)
{
	char *const headers[] = {(char[]){"Content-Type: application/octet-stream"}, NULL};
	cs_autofree char *url = NULL;
	struct cs_rg_xfer *x;

	if (begin(r, ep, digest, cancel_fd, &url, a, err) < 0)
		return -1;
	struct cs_rg_request q = {.method = "PUT", .url = url, .headers = headers, .source = src, .size = src->size, .cancel_fd = cancel_fd};
	if (cs_rg_send(r, ep, &q, NULL, &x, &a->fault, err) < 0)
		return -1;
	int status = cs_rg_xfer_response(x)->status;
	if (status < 200 || status >= 300)
		return refused_upload(r, x, a, err);
	finish(x);
	return 0;
}

int cs_repo_blob_push(struct cs_repo *r, const char *digest, const struct cs_upload_source *src, int cancel_fd, struct cs_err **err)
{
	struct cs_rg_endpoint *ep = cs_rg_walk(r, cs_rg_walk_start(r), 0);
	int cancel = cancel_fd == CS_RG_SESSION_FD ? r->client.cancel_fd : cancel_fd;

	if (check(digest, err) < 0)
		return -1;
	if (src->size < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "blob %s: negative size", digest);
	for (struct attempt a = {.number = 1};; a.number++) {
		struct cs_err *e = NULL;
		a.pause_ms = -1;
		if (push_once(r, ep, digest, src, cancel_fd, &a, &e) == 0)
			return 0;
		bool again = (a.fault == CS_RG_BROKEN || a.fault == CS_RG_STALLED || a.fault == CS_RG_UNREACHABLE) && a.number < r->client.reg->max_attempts && src->rewind;
		if (!again || src->rewind(src->ctx) < 0) {
			bool cancelled = a.fault == CS_RG_CANCELLED;
			(void)cs_err_move(err, e);
			return cancelled ? -1 : cs_wrap(err, "blob %s", digest);
		}
		cs_err_free(e);
		int64_t ms = a.pause_ms >= 0 ? a.pause_ms : cs_rg_pause(r->client.reg, a.number, NULL);
		if (r->on_retry)
			r->on_retry(r->ctx, digest, (unsigned)((ms + 999) / 1000));
		if (!cs_rg_sleep(cancel, ms))
			return cs_fail(err, CS_ERR_CANCELLED, 0, "context canceled");
		if (src->progress)
			src->progress(src->ctx, 0);
	}
}

/* An upload that we do not want: 202 means that the registry began one. */
static void abandon(struct cs_repo *r, struct cs_rg_endpoint *ep, struct cs_rg_xfer *x)
{
	const struct cs_rg_response *resp = cs_rg_xfer_response(x);
	cs_autofree char *url = resp->location ? cs_rg_url_join(resp->url, resp->location) : NULL;
	struct cs_rg_request q = {.method = "DELETE", .url = url, .size = -1, .cancel_fd = CS_RG_SESSION_FD};
	enum cs_rg_fault fault;
	struct cs_rg_xfer *gone;

	finish(x);
	if (url && cs_rg_send(r, ep, &q, NULL, &gone, &fault, NULL) == 0)
		finish(gone);
}

int cs_repo_blob_mount(struct cs_repo *r, const char *digest, const char *from, bool *ret_mounted, struct cs_err **err)
{
	struct cs_rg_endpoint *ep = cs_rg_walk(r, cs_rg_walk_start(r), 0);
	cs_autostr struct cs_str query = CS_STR_INIT(4096);
	enum cs_rg_fault fault;
	struct cs_rg_xfer *x;

	if (check(digest, err) < 0)
		return -1;
	cs_str_putf(&query, "mount=sha256%%3A%s&from=", digest + strlen("sha256:"));
	cs_rg_query_escape(&query, from);
	if (query.failed)
		return cs_fail(err, CS_ERR_INVALID, 0, "repository name is too long");
	cs_autofree char *base = cs_rg_repo_url(r, ep, "blobs/uploads", ""), *url = cs_xasprintf("%s%s%s", base, strchr(base, '?') ? "&" : "?", query.buf);
	struct cs_rg_request q = {.method = "POST", .url = url, .data = "", .size = 0, .cancel_fd = CS_RG_SESSION_FD};
	if (cs_rg_send(r, ep, &q, from, &x, &fault, err) < 0)
		return -1;
	int status = cs_rg_xfer_response(x)->status;
	*ret_mounted = status == 201;
	if (status == 201) {
		finish(x);
	} else if (status == 202) {
		abandon(r, ep, x);
	} else if (status == 401 || status == 403 || status == 404 || status == 405) {
		finish(x); /* may not, knows not, cannot: all the same to the caller */
	} else {
		return refused(x, err);
	}
	return 0;
}
