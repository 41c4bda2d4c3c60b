/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads libcurl for the first user; cs_registry_trim lets it go, which takes and costs 5 ms, so not between two pulls in a row. */
#include "registry/curl_lib.h"

#include <dlfcn.h>
#include <pthread.h>

#include "registry/registry.h"

struct cs_curl_lib cs_curl;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static void *handle;
static unsigned users;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static bool pinned = true; /* the leak checker trips over thread-local storage of what is gone */
#else
static bool pinned;
#endif

static bool resolve(void)
{
#define CS_CURL_RESOLVE(name)                                                                                                                        \
	cs_curl.f_##name = (__typeof__(cs_curl.f_##name))dlsym(handle, "curl_" #name);                                                              \
	if (!cs_curl.f_##name)                                                                                                                       \
		return false;
	CS_CURL_FUNCTIONS(CS_CURL_RESOLVE)
#undef CS_CURL_RESOLVE
	return true;
}

static int load(struct cs_err **err)
{
	/* GnuTLS is in the process already, but its flavour reads all of the system's authorities for each connection: with four transfers over
	 * TLS that is 43 MB against 14 MB, and 74 ms against 19 ms for a session. OpenSSL's libcrypto stays mapped afterwards, 0.6 to 1 MB. */
	static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(names) && !handle; i++)
		handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!handle || !resolve() || cs_cu(global_init)(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		const char *why = dlerror();
		int r = cs_fail(err, CS_ERR_INTERNAL, 0, "load the transfer library: %s", why ? why : names[0]);
		if (handle)
			(void)dlclose(TAKE_PTR(handle));
		return r;
	}
	return 0;
}

int cs_curl_get(struct cs_err **err)
{
	int r = 0;

	pthread_mutex_lock(&lock);
	if (users == 0 && !handle)
		r = load(err);
	if (r == 0)
		users++;
	pthread_mutex_unlock(&lock);
	return r;
}

void cs_curl_put(void)
{
	pthread_mutex_lock(&lock);
	users--;
	pthread_mutex_unlock(&lock);
}

void cs_registry_trim(void)
{
	pthread_mutex_lock(&lock);
	if (handle && users == 0 && !pinned) {
		cs_cu(global_cleanup)();
		(void)dlclose(TAKE_PTR(handle));
	}
	pthread_mutex_unlock(&lock);
}

void cs_curl_pin(void)
{
	pthread_mutex_lock(&lock);
	pinned = true;
	pthread_mutex_unlock(&lock);
}

bool cs_curl_looks_up(void)
{
	const curl_version_info_data *v = cs_cu(version_info)(CURLVERSION_NOW);
	return v->ssl_version && strncmp(v->ssl_version, "OpenSSL", 7) == 0;
}
