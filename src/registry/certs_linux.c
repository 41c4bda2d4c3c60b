/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates of a registry: <certs.d>/<host[:port]>/{*.crt,x.cert,x.key} as Docker has it. The transfer library takes authorities from one
 * file only, so ours and the system's are put together into a file in memory. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/io.h"
#include "base/path.h"
#include "registry/internal.h"

#define PEM_MAX (4u << 20)

int cs_rg_certs_add_ca(struct cs_rg_tls *tls, const char *path, struct cs_err **err)
{
	cs_autostr struct cs_str pem = CS_STR_INIT(PEM_MAX);
	int r = cs_read_file_at(AT_FDCWD, path, &pem);

	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read CA certificate %s", path);
	if (!pem.buf || !strstr(pem.buf, "-----BEGIN"))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "%s holds no PEM certificate", path);
	char *all = cs_xasprintf("%s%s\n", tls->own_pem ? tls->own_pem : "", pem.buf);
	free(tls->own_pem);
	tls->own_pem = all;
	return 0;
}

static const char *ending(const char *name, const char *end)
{
	size_t n = strlen(name), e = strlen(end);
	return n > e && strcmp(name + n - e, end) == 0 ? name + n - e : NULL;
}

/* The other half of a pair: x.cert and x.key. */
static char *partner(const char *dir, const char *name, const char *dot, const char *end)
{
	return cs_xasprintf("%s/%.*s%s", dir, (int)(dot - name), name, end);
}

static int take_file(struct cs_rg_tls *tls, const char *dir, const char *name, struct cs_err **err)
{
	cs_autofree char *path = cs_path_join(dir, name);
	const char *dot;

	if (ending(name, ".crt"))
		return cs_rg_certs_add_ca(tls, path, err);
	if ((dot = ending(name, ".cert"))) {
		cs_autofree char *key = partner(dir, name, dot, ".key");
		if (access(key, F_OK) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, 0, "missing key %.*s.key for client certificate %s. CA certificates must use the extension .crt",
				       (int)(dot - name), name, name);
		if (!tls->client_cert) { /* in the order of names: the first pair */
			tls->client_cert = TAKE_PTR(path);
			tls->client_key = TAKE_PTR(key);
		}
	} else if ((dot = ending(name, ".key"))) {
		cs_autofree char *cert = partner(dir, name, dot, ".cert");
		if (access(cert, F_OK) < 0)
			return cs_fail(err, CS_ERR_INTERNAL, 0, "missing client certificate %.*s.cert for key %s", (int)(dot - name), name, name);
	}
	return 0;
}

static int load_dir(struct cs_rg_tls *tls, const char *dir, struct cs_err **err)
{
	cs_autostrv char **names = NULL;
	struct dirent *e;
	DIR *d = opendir(dir);

	if (!d)
		return errno == ENOENT || errno == ENOTDIR ? 0 : cs_fail(err, CS_ERR_INTERNAL, errno, "open %s", dir);
	while ((e = readdir(d)))
		if (*e->d_name != '.')
			cs_strv_push(&names, e->d_name);
	(void)closedir(d);
	cs_strv_sort(names);
	for (char **n = names; n && *n; n++)
		if (take_file(tls, dir, *n, err) < 0)
			return -1;
	return 0;
}

int cs_rg_certs_load(const struct cs_registry *reg, const char *hostport, struct cs_rg_tls *tls, struct cs_err **err)
{
	for (char **d = reg->certs_dirs; d && *d; d++) {
		cs_autofree char *dir = cs_path_join(*d, hostport);
		if (load_dir(tls, dir, err) < 0)
			return -1;
	}
	return 0;
}

/* ---- the system's authorities ---- */

static bool hashed; /* CERT_DIR can be searched: it has entries such as 5ed36f99.0 */

static void look_for_hashes(void)
{
	DIR *d = opendir(CS_RG_CERT_DIR);
	struct dirent *e;

	while (d && !hashed && (e = readdir(d)))
		hashed = strspn(e->d_name, "0123456789abcdef") == 8 && strcmp(e->d_name + 8, ".0") == 0;
	if (d)
		(void)closedir(d);
}

/* As in Go, the environment may name another file. */
const char *cs_rg_system_bundle(void)
{
	static const char *const bundles[] = {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem"};
	const char *own = getenv("SSL_CERT_FILE");

	if (!cs_empty(own))
		return own;
	for (size_t i = 0; i < CS_ARRAY_SIZE(bundles); i++)
		if (access(bundles[i], R_OK) == 0)
			return bundles[i];
	return NULL;
}

bool cs_rg_looks_up(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, look_for_hashes);
	return hashed && cs_empty(getenv("SSL_CERT_FILE")) && cs_curl_looks_up();
}

int cs_rg_certs_seal(struct cs_rg_tls *tls, struct cs_err **err)
{
	cs_autostr struct cs_str system = CS_STR_INIT(PEM_MAX);
	const char *bundle = cs_rg_looks_up() ? NULL : cs_rg_system_bundle();
	cs_autofd int fd = -EBADF;
	int r;

	if (!tls->own_pem || tls->ca_fd >= 0)
		return 0;
	r = bundle ? cs_read_file_at(AT_FDCWD, bundle, &system) : 0;
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "read %s", bundle);
	fd = memfd_create("caisson-ca", MFD_CLOEXEC);
	if (fd < 0)
		return cs_fail(err, CS_ERR_INTERNAL, errno, "memory for CA certificates");
	r = cs_write_full(fd, tls->own_pem, strlen(tls->own_pem));
	if (r == 0 && system.len > 0)
		r = cs_write_full(fd, system.buf, system.len);
	if (r < 0)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "memory for CA certificates");
	tls->ca_fd = TAKE_FD(fd);
	return 0;
}

void cs_rg_tls_done(struct cs_rg_tls *tls)
{
	free(tls->own_pem);
	free(tls->client_cert);
	free(tls->client_key);
	cs_close(tls->ca_fd);
	*tls = (struct cs_rg_tls){.ca_fd = -EBADF};
}
