/* SPDX-License-Identifier: Apache-2.0
 * user[:group] against a container's /etc/passwd and /etc/group. Input: the user, NUL, passwd, NUL, group. */
#include "base/io.h"
#include "base/sys.h"
#include "compute/process/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
const char *cs_go_errno(int e);

static int root = -EBADF;
static char dir[] = "/tmp/fuzz-identity-XXXXXX";

static void remove_dir(void) { (void)cs_remove_tree_at(AT_FDCWD, dir); }

static void make_root(void)
{
	if (!mkdtemp(dir) || (root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0 || mkdirat(root, "etc", 0755) < 0 ||
	    atexit(remove_dir) != 0)
		abort();
}

static void put(const char *name, const char *p, size_t n)
{
	cs_autofd int fd = openat(root, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0 || cs_write_full(fd, p, n) < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	cs_autofree char *s = cs_xstrndup((const char *)data, size); /* may end early, and then the rest is empty */
	const char *end = (const char *)data + size;
	const char *pw = memchr(data, 0, size), *gr = pw ? memchr(pw + 1, 0, (size_t)(end - pw - 1)) : NULL;
	struct cs_identity id = {0};
	struct cs_step user = {.op = CS_PLAN_USER};

	if (root < 0)
		make_root();
	put("etc/passwd", pw ? pw + 1 : "", pw ? (size_t)((gr ? gr : end) - pw - 1) : 0);
	put("etc/group", gr ? gr + 1 : "", gr ? (size_t)(end - gr - 1) : 0);
	user.arg[0].s = s;
	if (cs_identity_resolve(root, &user, &id, NULL) == 0 && (id.uid > 0x7fffffff || id.gid > 0x7fffffff || !id.n_groups || id.groups[0] != id.gid))
		abort();
	free(id.groups);
	free(id.home);
	return 0;
}
