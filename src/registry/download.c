/* SPDX-License-Identifier: Apache-2.0
 *
 * A file from the web, for `import`: the same transfers as a registry's (proxies, redirects, stalls, cancellation), without credentials. */
#include "registry/internal.h"

struct cs_download {
	struct cs_rg_client client;
	struct cs_rg_xfer *x;
};

void cs_download_close(struct cs_download *d)
{
	if (!d)
		return;
	cs_rg_xfer_close(d->x);
	cs_rg_client_done(&d->client);
	free(d);
}

/* What the server says to a refusal is part of the message, as dockerd's. */
static int refused(struct cs_download *d, const char *url, struct cs_err **err)
{
	const struct cs_rg_response *r = cs_rg_xfer_response(d->x);
	cs_autostr struct cs_str body = CS_STR_INIT(CS_RG_ERROR_BODY);
	enum cs_code code = r->status == 404 ? CS_ERR_NOT_FOUND : r->status == 400 ? CS_ERR_INVALID : r->status == 401 ? CS_ERR_UNAUTHORIZED :
			    r->status == 403 ? CS_ERR_DENIED : CS_ERR_INTERNAL;
	enum cs_rg_fault fault;

	if (cs_rg_xfer_slurp(d->x, &body, &fault, NULL) < 0)
		return cs_fail(err, code, 0, "failed to GET %s with status %s: error reading body", url, r->status_text);
	const char *text = body.buf ? body.buf : "";
	text += strspn(text, " \t\r\n");
	size_t n = strlen(text);
	while (n && strchr(" \t\r\n", text[n - 1]))
		n--;
	return cs_fail(err, code, 0, "failed to GET %s with status %s: %.*s", url, r->status_text, (int)CS_MIN(n, (size_t)2000), text);
}

int cs_download_open(struct cs_registry *reg, const char *url, int cancel_fd, struct cs_download **ret, int64_t *ret_size, struct cs_err **err)
{
	struct cs_rg_url u = {0};
	struct cs_rg_tls tls = {.ca_fd = -1};
	struct cs_rg_request q = {.method = "GET", .verb = "Get", .url = url, .tls = &tls, .size = -1, .cancel_fd = CS_RG_SESSION_FD, .big = true};
	enum cs_rg_fault fault = CS_RG_FINE;
	bool ok = cs_rg_url_parse(url, &u), user = u.user;

	cs_rg_url_done(&u);
	if (!ok || user)
		return cs_fail(err, CS_ERR_INVALID, 0, "%.300s is no URL to import from: http:// or https://, without credentials", url);
	struct cs_download *d = cs_xcalloc(1, sizeof(*d));
	if (cs_rg_client_init(&d->client, reg, cancel_fd, err) < 0) {
		free(d);
		return -1;
	}
	int r = cs_rg_xfer_open(&d->client, &q, &d->x, &fault, err);
	if (r < 0 && fault != CS_RG_CANCELLED)
		(void)cs_wrap(err, "Get \"%.300s\"", url);
	if (r < 0 || (cs_rg_xfer_response(d->x)->status >= 400 && refused(d, url, err) < 0)) {
		cs_download_close(d);
		return -1;
	}
	*ret_size = cs_rg_xfer_response(d->x)->content_length;
	*ret = d;
	return 0;
}

ssize_t cs_download_read(struct cs_download *d, void *buf, size_t max, struct cs_err **err)
{
	enum cs_rg_fault fault;
	return cs_rg_xfer_read(d->x, buf, max, &fault, err);
}
