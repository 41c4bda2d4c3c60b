/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tls.h"

#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/late.h"

#define FUNCTIONS(X)                                                                                                                                   \
	X(certificate_allocate_credentials) X(certificate_set_x509_trust_file) X(certificate_set_x509_system_trust)                                    \
	X(certificate_set_x509_key_file) X(init) X(deinit) X(set_default_priority) X(credentials_set) X(server_name_set)                               \
	X(session_set_verify_cert) X(session_get_verify_cert_status) X(certificate_verification_status_print) X(transport_set_int2)                    \
	X(handshake) X(record_recv) X(record_send) X(bye) X(strerror) X(error_is_fatal) X(alert_get) X(alert_get_name)

#define MEMBER(name) __typeof__(gnutls_##name) *f_##name;
static struct {
	FUNCTIONS(MEMBER)
} lib;
#define G(name) (lib.f_##name)
#define ROW(name) {"gnutls_" #name, offsetof(__typeof__(lib), f_##name)},
static const struct cs_late_symbol symbols[] = {FUNCTIONS(ROW){0}};
static struct cs_late late = {.name = "libgnutls.so.30", .symbols = symbols, CS_LATE_INIT};

static const char *volatile failure;

const char *tls_failure(void) { return failure; }

static int load(struct cs_err **err)
{
	return cs_late_get(&late, &lib, err) < 0 ? cs_wrap(err, "TLS needs GnuTLS") : 0;
}

/* ---- the pump: one thread per connection ---- */

struct pump {
	gnutls_session_t session;
	int tls_fd, plain_fd;
	struct half {
		char buf[16384];
		size_t at, len; /* what is still to be written */
		bool ended;
	} in, out; /* from the engine, to the engine */
};

/* Engine to client. True if something moved. */
static bool pump_in(struct pump *p)
{
	bool moved = false;

	if (p->in.len == 0 && !p->in.ended) {
		ssize_t n = G(record_recv)(p->session, p->in.buf, sizeof(p->in.buf));
		if (n > 0) {
			p->in.at = 0;
			p->in.len = (size_t)n;
			moved = true;
		} else if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED && (n == 0 || G(error_is_fatal)((int)n))) {
			if (n < 0 && n != GNUTLS_E_PREMATURE_TERMINATION)
				failure = n == GNUTLS_E_FATAL_ALERT_RECEIVED ? G(alert_get_name)(G(alert_get)(p->session)) : G(strerror)((int)n);
			p->in.ended = moved = true;
		}
	}
	if (p->in.len) {
		ssize_t n = send(p->plain_fd, p->in.buf + p->in.at, p->in.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n > 0) {
			p->in.at += (size_t)n;
			p->in.len -= (size_t)n;
			moved = true;
		} else if (n < 0 && errno != EAGAIN && errno != EINTR) {
			p->in.ended = moved = true;
			p->in.len = 0;
		}
	}
	return moved;
}

/* Client to engine. True if something moved. */
static bool pump_out(struct pump *p)
{
	bool moved = false;

	if (p->out.len == 0 && !p->out.ended) {
		ssize_t n = recv(p->plain_fd, p->out.buf, sizeof(p->out.buf), MSG_DONTWAIT);
		if (n > 0) {
			p->out.at = 0;
			p->out.len = (size_t)n;
			moved = true;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			(void)G(bye)(p->session, GNUTLS_SHUT_WR);
			p->out.ended = moved = true;
		}
	}
	if (p->out.len) {
		ssize_t n = G(record_send)(p->session, p->out.buf + p->out.at, p->out.len);
		if (n > 0) {
			p->out.at += (size_t)n;
			p->out.len -= (size_t)n;
			moved = true;
		} else if (n < 0 && n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED) {
			p->out.ended = moved = true;
			p->out.len = 0;
		}
	}
	return moved;
}

static void *pump_main(void *arg)
{
	struct pump *p = arg;

	for (;;) {
		bool moved = pump_in(p);
		moved |= pump_out(p);
		if (p->in.ended && p->in.len == 0)
			break;
		if (moved)
			continue;
		struct pollfd f[2] = {{.fd = p->tls_fd, .events = (short)((p->in.len ? 0 : POLLIN) | (p->out.len ? POLLOUT : 0))},
				      {.fd = p->plain_fd, .events = (short)((p->out.len || p->out.ended ? 0 : POLLIN) | (p->in.len ? POLLOUT : 0))}};
		if (poll(f, 2, -1) < 0 && errno != EINTR)
			break;
		if (p->out.ended && (f[1].revents & (POLLHUP | POLLERR)))
			break; /* the client has closed it altogether */
	}
	(void)G(bye)(p->session, GNUTLS_SHUT_WR);
	G(deinit)(p->session);
	cs_close(p->tls_fd);
	cs_close(p->plain_fd);
	free(p);
	return NULL;
}

/* ---- setting up ---- */

static int credentials(const struct endpoint *e, gnutls_certificate_credentials_t *ret, struct cs_err **err)
{
	int r = G(certificate_allocate_credentials)(ret);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "TLS: %s", G(strerror)(r));
	if (e->ca) {
		r = G(certificate_set_x509_trust_file)(*ret, e->ca, GNUTLS_X509_FMT_PEM);
		if (r <= 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "could not read CA certificate \"%s\": %s", e->ca, r < 0 ? G(strerror)(r) : "no certificate in it");
	} else if (e->verify) {
		(void)G(certificate_set_x509_system_trust)(*ret);
	}
	if (e->cert && e->key) {
		r = G(certificate_set_x509_key_file)(*ret, e->cert, e->key, GNUTLS_X509_FMT_PEM);
		if (r < 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "could not load X509 key pair: %s and %s: %s", e->cert, e->key, G(strerror)(r));
	}
	return 0;
}

static int handshake(gnutls_session_t s, struct cs_err **err)
{
	int r;

	do
		r = G(handshake)(s);
	while (r < 0 && !G(error_is_fatal)(r));
	if (r >= 0)
		return 0;
	gnutls_datum_t why = {0};
	if (r == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR &&
	    G(certificate_verification_status_print)(G(session_get_verify_cert_status)(s), GNUTLS_CRT_X509, &why, 0) == 0) {
		(void)cs_fail(err, CS_ERR_UNAVAILABLE, 0, "tls: failed to verify certificate: %s", (const char *)why.data);
		free(why.data);
		return -1;
	}
	if (r == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "remote error: tls: %s", G(alert_get_name)(G(alert_get)(s)));
	return cs_fail(err, CS_ERR_UNAVAILABLE, 0, "tls: %s", G(strerror)(r));
}

static int start_pump(gnutls_session_t s, int fd, struct cs_err **err)
{
	int pair[2];

	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "TLS");
	struct pump *p = cs_xcalloc(1, sizeof(*p));
	p->session = s;
	p->tls_fd = fd;
	p->plain_fd = pair[1];
	pthread_t thread;
	int e = pthread_create(&thread, NULL, pump_main, p);
	if (e) {
		cs_close(pair[0]);
		cs_close(pair[1]);
		free(p);
		return cs_fail(err, CS_ERR_INTERNAL, e, "start a thread for TLS");
	}
	(void)pthread_detach(thread);
	return pair[0];
}

int tls_wrap(int fd, const struct endpoint *e, const char *name, struct cs_err **err)
{
	static gnutls_certificate_credentials_t cred; /* for all connections of the process */
	cs_autofd int own = fd;
	gnutls_session_t s = NULL;

	if (load(err) < 0 || (!cred && credentials(e, &cred, err) < 0))
		return -1;
	int r = G(init)(&s, GNUTLS_CLIENT | GNUTLS_NO_SIGNAL);
	if (r == 0)
		r = G(set_default_priority)(s);
	if (r == 0)
		r = G(credentials_set)(s, GNUTLS_CRD_CERTIFICATE, cred);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, 0, "TLS: %s", G(strerror)(r));
	if (name[strspn(name, "0123456789.:[]")]) /* names only: an address is no server name (RFC 6066) */
		(void)G(server_name_set)(s, GNUTLS_NAME_DNS, name, strlen(name));
	if (e->verify)
		G(session_set_verify_cert)(s, name, 0);
	G(transport_set_int2)(s, own, own);
	int plain = handshake(s, err) < 0 ? -1 : start_pump(s, own, err);
	if (plain < 0) {
		G(deinit)(s);
		return -1;
	}
	own = -EBADF;
	return plain;
}
