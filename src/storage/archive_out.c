/* SPDX-License-Identifier: Apache-2.0
 *
 * Headers of the archive around images. ustar, always the same bytes for the same name and size: no owner but root, no time but the epoch. Pure. */
#include "computestorage.h"

struct header { /* ustar, POSIX.1-1988 */
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], chksum[8], type, link[100], magic[6], version[2], uname[32], gname[32], major[8], minor[8],
		prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == CS_ARCHIVE_BLOCK, "a header is one block");

static void octal(char *field, size_t n, uint64_t v)
{
	field[n - 1] = 0;
	for (size_t i = n - 1; i-- > 0; v >>= 3)
		field[i] = (char)('0' + (v & 7));
}

static void put_size(char field[12], uint64_t v)
{
	if (v < 1ull << 33) {
		octal(field, 12, v);
		return;
	}
	/* base 256, as GNU tar and Go write it */
	memset(field, 0, 12);
	field[0] = (char)0x80;
	for (int i = 11; v; i--, v >>= 8)
		field[i] = (char)(v & 0xff);
}

void cs_archive_out_header(char block[CS_ARCHIVE_BLOCK], const char *name, int64_t size)
{
	struct header h;
	size_t len = strlen(name);
	bool dir = len && name[len - 1] == '/';
	unsigned sum = 0;

	memset(&h, 0, sizeof(h));
	memcpy(h.name, name, CS_MIN(len, sizeof(h.name)));
	octal(h.mode, sizeof(h.mode), dir ? 0755 : 0644);
	octal(h.uid, sizeof(h.uid), 0);
	octal(h.gid, sizeof(h.gid), 0);
	put_size(h.size, (uint64_t)size);
	octal(h.mtime, sizeof(h.mtime), 0);
	memset(h.chksum, ' ', sizeof(h.chksum));
	h.type = dir ? '5' : '0';
	memcpy(h.magic, "ustar", 6);
	memcpy(h.version, "00", 2);
	memcpy(block, &h, sizeof(h));
	for (size_t i = 0; i < sizeof(h); i++)
		sum += (unsigned char)block[i];
	octal(h.chksum, 7, sum); /* six digits, a zero, a blank */
	memcpy(block, &h, sizeof(h));
}
