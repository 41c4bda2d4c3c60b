/* SPDX-License-Identifier: Apache-2.0 */
#include "network/rtnl.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include "base/log.h"

#define ANSWER 32768

int cs_rtnl_open(struct cs_rtnl *r, struct cs_err **err)
{
	int one = 1;

	*r = (struct cs_rtnl){.nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC)};
	if (!r->nl || mnl_socket_bind(r->nl, 0, MNL_SOCKET_AUTOPID) < 0) {
		int saved = errno;
		cs_rtnl_close(r);
		return cs_fail(err, CS_ERR_INTERNAL, saved, "open a netlink socket");
	}
	/* kernels without them answer without explanation, and filter less */
	(void)mnl_socket_setsockopt(r->nl, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(r->nl, NETLINK_CAP_ACK, &one, sizeof(one));
	(void)mnl_socket_setsockopt(r->nl, NETLINK_GET_STRICT_CHK, &one, sizeof(one));
	return 0;
}

void cs_rtnl_close(struct cs_rtnl *r)
{
	if (r->nl)
		(void)mnl_socket_close(r->nl);
	r->nl = NULL;
}

void cs_nl_init(struct cs_nl *b, struct cs_rtnl *sock)
{
	b->sock = sock;
	b->open = NULL;
	b->len = b->n = 0;
	b->err = NULL;
}

static void close_message(struct cs_nl *b)
{
	if (b->open)
		b->len += MNL_ALIGN(b->open->nlmsg_len);
	b->open = NULL;
}

struct nlmsghdr *cs_nl_add(struct cs_nl *b, uint16_t type, uint16_t flags, const void *fixed, size_t fixed_len, const char *what, int tolerate)
{
	close_message(b);
	if (b->n == CS_NL_MSGS || b->len + CS_NL_ROOM > sizeof(b->buf)) {
		cs_autoerr struct cs_err *err = NULL;
		if (cs_nl_run(b, &err) < 0)
			(void)cs_err_move(&b->err, TAKE_PTR(err));
	}
	struct nlmsghdr *h = mnl_nlmsg_put_header(b->buf + b->len);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	h->nlmsg_seq = ++b->sock->seq;
	memcpy(mnl_nlmsg_put_extra_header(h, fixed_len), fixed, fixed_len);
	b->msg[b->n].what = what;
	b->msg[b->n++].tolerate = tolerate;
	b->open = h;
	return h;
}

/* The text of an extended ack, behind the (capped) request of an error message. */
static const char *explanation(const struct nlmsghdr *h)
{
	const struct nlattr *attr;
	size_t offset = sizeof(struct nlmsgerr);

	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS))
		return NULL;
	if (!(h->nlmsg_flags & NLM_F_CAPPED)) {
		const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
		offset += MNL_ALIGN(e->msg.nlmsg_len) - sizeof(struct nlmsghdr);
	}
	if (offset > mnl_nlmsg_get_payload_len(h))
		return NULL;
	mnl_attr_for_each (attr, h, offset)
		if (mnl_attr_get_type(attr) == NLMSGERR_ATTR_MSG && mnl_attr_validate(attr, MNL_TYPE_NUL_STRING) == 0)
			return mnl_attr_get_str(attr);
	return NULL;
}

static enum cs_code code_of(int error)
{
	switch (error) {
	case ENODEV:
	case ENOENT:
	case ESRCH:
		return CS_ERR_NOT_FOUND;
	case EEXIST:
	case EBUSY:
	case EADDRINUSE:
		return CS_ERR_CONFLICT;
	case EOPNOTSUPP:
		return CS_ERR_UNSUPPORTED;
	case EPERM:
		return CS_ERR_DENIED;
	default:
		return CS_ERR_INTERNAL;
	}
}

/* An answer with an error in it; true when it is one to tell. */
static bool told(struct cs_nl *b, const struct nlmsghdr *h, uint32_t first, struct cs_err **err)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(h);
	uint32_t i = h->nlmsg_seq - first;
	const char *more = explanation(h);

	if (i >= b->n || e->error == 0 || -e->error == b->msg[i].tolerate || b->msg[i].tolerate == CS_NL_ANY)
		return false;
	if (!*err)
		(void)cs_fail(err, code_of(-e->error), -e->error, more ? "%s (%s)" : "%s", b->msg[i].what, more);
	return true;
}

/* The end of a dump carries an errno of its own. */
static int ended(struct cs_nl *b, const struct nlmsghdr *h, bool again, struct cs_err **err)
{
	int error = 0;

	if (mnl_nlmsg_get_payload_len(h) >= sizeof(error))
		memcpy(&error, mnl_nlmsg_get_payload(h), sizeof(error));
	if (error < 0 && !*err)
		return cs_fail(err, code_of(-error), -error, "%s", b->msg[0].what);
	if (again && !*err)
		return cs_fail(err, CS_ERR_CONFLICT, EINTR, "%s: changed meanwhile", b->msg[0].what);
	return *err ? -1 : 0;
}

static int answers(struct cs_nl *b, mnl_cb_t each, void *ctx, struct cs_err **err)
{
	uint32_t last = b->sock->seq, first = last - b->n + 1;
	_Alignas(8) char buf[ANSWER];
	bool stopped = false, again = false;

	for (;;) {
		ssize_t n = mnl_socket_recvfrom(b->sock->nl, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cs_fail(err, CS_ERR_INTERNAL, errno, "%s: receive the answer", b->msg[0].what);
		int left = (int)n;
		for (const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)buf; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_seq - first >= b->n) /* of an earlier request that was given up */
				continue;
			again |= (h->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (h->nlmsg_type == NLMSG_ERROR) {
				(void)told(b, h, first, err);
				if (h->nlmsg_seq == last)
					return *err ? -1 : 0;
			} else if (h->nlmsg_type == NLMSG_DONE) {
				return ended(b, h, again, err);
			} else if (each && !stopped) {
				stopped = each(h, ctx) == MNL_CB_STOP;
			}
		}
	}
}

static int send_and_wait(struct cs_nl *b, mnl_cb_t each, void *ctx, struct cs_err **err)
{
	cs_autoerr struct cs_err *mine = NULL;

	if (b->open && !each)
		b->open->nlmsg_flags |= NLM_F_ACK;
	close_message(b);
	if (b->n > 0 && mnl_socket_sendto(b->sock->nl, b->buf, b->len) < 0)
		(void)cs_fail(&mine, CS_ERR_INTERNAL, errno, "%s: send", b->msg[0].what);
	else if (b->n > 0)
		(void)answers(b, each, ctx, &mine);
	b->len = b->n = 0;
	struct cs_err *before = TAKE_PTR(b->err);
	if (before) {
		cs_err_free(TAKE_PTR(mine));
		mine = before;
	}
	return mine ? cs_err_move(err, TAKE_PTR(mine)) : 0;
}

int cs_nl_run(struct cs_nl *b, struct cs_err **err) { return send_and_wait(b, NULL, NULL, err); }

void cs_nl_try(struct cs_nl *b)
{
	cs_autoerr struct cs_err *err = NULL;

	if (cs_nl_run(b, &err) < 0) {
		cs_autofree char *text = cs_err_text(err);
		cs_debug("network", "%s", text);
	}
}

int cs_nl_ask(struct cs_nl *b, mnl_cb_t each, void *ctx, struct cs_err **err)
{
	if (b->open && !(b->open->nlmsg_flags & NLM_F_DUMP)) /* the ack is the end */
		b->open->nlmsg_flags |= NLM_F_ACK;
	return send_and_wait(b, each, ctx, err);
}
