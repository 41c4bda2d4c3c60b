/* SPDX-License-Identifier: Apache-2.0
 *
 * Host compute storage: layers on disk, after Windows' computestorage.dll. Part of the library's interface are the Hcs functions; what follows
 * them (cs_*) is Caisson's own door to its content store, layers and snapshots, and is there inside of Caisson's source tree only.
 *
 * Strings are UTF-8; paths are absolute paths of the host. All functions are synchronous and may be called from any thread; calls for one layer
 * are the caller's to serialise. A layer is a directory:
 *   read-only: diff/ (the files, whiteouts in overlayfs' form) and layerchain.json (the parents, when there are some)
 *   writable:  upper/, work/, merged/ (where the filter attaches) and layerchain.json
 * layerData: {"SchemaVersion": {"Major": 2, "Minor": 1}, "Layers": [{"Id": "...", "Path": "<layer directory>"}, ...]}, the nearest parent first.
 * Unknown members are refused (HCS_E_INVALID_JSON), a parent that is not there or is no layer is HCS_E_INVALID_LAYER.
 * Whatever fails leaves no half-made layer behind. */
#pragma once

#include "computecore.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HCS_E_PATH_NOT_FOUND ((HRESULT)0x80070003) /* Win32 3 */
#define HCS_E_ALREADY_EXISTS ((HRESULT)0x800700B7) /* Win32 183 */

/* Makes the read-only layer layerPath, which does not exist or is an empty directory, from sourceFolderPath: from the file layer.tar in it (an OCI
 * layer; plain, gzip, zstd, bzip2, xz), else from the folder itself as a tree with overlayfs' whiteouts. Durable on return. */
HRESULT HcsImportLayer(const char *layerPath, const char *sourceFolderPath, const char *layerData);
/* Writes exportFolderPath/layer.tar, an uncompressed OCI layer; the folder is made when it is missing. options: NULL or {"IsWritableLayer": bool}:
 * the difference that a writable layer holds, else a read-only layer's files. */
HRESULT HcsExportLayer(const char *layerPath, const char *exportFolderPath, const char *layerData, const char *options);
/* Deletes a layer of either kind; HCS_E_INVALID_STATE while its filter is attached, HCS_E_INVALID_LAYER for what is no layer. */
HRESULT HcsDestroyLayer(const char *layerPath);
/* Makes a writable layer on top of at least one parent. options: NULL. */
HRESULT HcsInitializeWritableLayer(const char *writableLayerPath, const char *layerData, const char *options);
/* The union of a writable layer and its parents appears at layerPath/merged, and disappears. */
HRESULT HcsAttachLayerStorageFilter(const char *layerPath, const char *layerData);
HRESULT HcsDetachLayerStorageFilter(const char *layerPath);
/* The newer form of the two: layerData may have "FilterType": "UnionFS"; "WCIFS" is HCS_E_NOT_SUPPORTED, for there is no such filter here. */
HRESULT HcsAttachOverlayFilter(const char *volumePath, const char *layerData);
HRESULT HcsDetachOverlayFilter(const char *volumePath, const char *layerData);

/* Windows only: version 1 of the layer format, registry hives, NTFS volumes in virtual disks. Each answers HCS_E_NOT_SUPPORTED. */
HRESULT HcsExportLegacyWritableLayer(const char *writableLayerMountPath, const char *writableLayerFolderPath, const char *exportFolderPath,
				     const char *layerData);
HRESULT HcsInitializeLegacyWritableLayer(const char *writableLayerMountPath, const char *writableLayerFolderPath, const char *layerData,
					 const char *options);
HRESULT HcsSetupBaseOSLayer(const char *layerPath, int vhd, const char *options);
HRESULT HcsSetupBaseOSVolume(const char *layerPath, const char *volumePath, const char *options);
HRESULT HcsFormatWritableLayerVhd(int vhd);
HRESULT HcsGetLayerVhdMountPath(int vhd, char **mountPath);

#ifdef __cplusplus
}
#endif

/* ---- inside of Caisson ----
 *
 * Content store, layers and snapshots below the data root. Owner of <data root>/{content,layers,snapshots,tmp}; knows nothing of
 * image names or containers. Every function may be called from any thread: objects are made under a private name in tmp/ and
 * appear by rename, so a crash leaves nothing but entries of tmp/, which the next cs_storage_open removes. */
#if __has_include("base/banned.h")
#include <sys/types.h>

#include "base/error.h"
#include "base/str.h"
#include "base/strv.h"

struct cs_storage;

CS_MUST_CHECK int cs_storage_open(const char *data_root, struct cs_storage **ret, struct cs_err **err);
void cs_storage_close(struct cs_storage *s);
/* Tries what containers need of the data root's file system: types in directories, attributes, an overlay's upper. UNSUPPORTED: it says which is missing. */
CS_MUST_CHECK int cs_storage_check_host(struct cs_storage *s, struct cs_err **err);

/* A directory to put on top of an image's layers in a container's root (/.dockerenv): not a layer, in no image, commit or diff. Caller frees. */
char *cs_storage_marks(const struct cs_storage *s);

/* What an archive may grow to; more is INVALID. Set before the first layer. */
struct cs_storage_limits {
	int64_t layer_bytes;  /* of one layer's tar; 256 GiB */
	int64_t layer_entries; /* names in one layer; 10 million */
	int64_t ratio, ratio_from; /* a stream that has unpacked to more than ratio_from bytes and ratio times its size is a bomb; 400, 8 GiB */
};
void cs_storage_set_limits(struct cs_storage *s, const struct cs_storage_limits *limits); /* members that are 0 keep their value */

/* "sha256:" and 64 lower-case hex digits. */
#define CS_DIGEST_LEN 71
struct cs_digest {
	char s[CS_DIGEST_LEN + 1];
};
bool cs_digest_valid(const char *s);
CS_MUST_CHECK bool cs_digest_from(const char *s, struct cs_digest *ret);
/* What came, and what it should be (NULL: anything). INVALID "digest mismatch: …" names both. */
CS_MUST_CHECK int cs_digest_expect(const struct cs_digest *is, const struct cs_digest *expected, struct cs_err **err);
static inline const char *cs_digest_hex(const struct cs_digest *d) { return d->s + 7; }

/* Running SHA-256; new aborts when out of memory. */
struct cs_hash;
struct cs_hash *cs_hash_new(void);
void cs_hash_update(struct cs_hash *h, const void *data, size_t len);
void cs_hash_done(struct cs_hash *h, struct cs_digest *ret); /* ret may be NULL; frees h; accepts NULL */
void cs_hash_data(const void *data, size_t len, struct cs_digest *ret);
/* OCI chain id: the diff id itself for the lowest layer (parent NULL), else sha256("parent diff"). */
void cs_chain_id(const struct cs_digest *parent, const struct cs_digest *diff, struct cs_digest *ret);

/* ---- content (content.c): <data root>/content is a valid OCI image layout at all times ---- */
struct cs_blob_writer;
CS_MUST_CHECK int cs_blob_begin(struct cs_storage *s, struct cs_blob_writer **ret, struct cs_err **err);
CS_MUST_CHECK int cs_blob_write(struct cs_blob_writer *w, const void *data, size_t len, struct cs_err **err);
/* Durable on return. expected: NULL, or the digest it must have. Frees w, also on failure. */
CS_MUST_CHECK int cs_blob_commit(struct cs_blob_writer *w, const struct cs_digest *expected, struct cs_digest *ret, int64_t *ret_size,
				 struct cs_err **err);
void cs_blob_abort(struct cs_blob_writer *w); /* instead of commit; accepts NULL */
/* Instead of abort, when its stream broke off: what was written stays for a later resume of the blob (not very little, and for a week at most). */
void cs_blob_keep(struct cs_blob_writer *w, const struct cs_digest *d);
/* Instead of begin: a writer that has the first *ret_have bytes (1 to max) of the blob already. They are to be read from *ret_fd (the caller's) and written to
 * it all the same: nobody knows yet whether they are right. 0; -ENOENT when nothing is kept; another -errno: what was kept is gone. */
CS_MUST_CHECK int cs_blob_resume(struct cs_storage *s, const struct cs_digest *d, int64_t max, struct cs_blob_writer **ret, int *ret_fd, int64_t *ret_have);
void cs_partial_drop(struct cs_storage *s, const struct cs_digest *d);
/* Takes away what is kept for resumes: all, or what is too old. Bytes. */
int64_t cs_partials_clean(struct cs_storage *s, bool all);
CS_MUST_CHECK int cs_blob_put(struct cs_storage *s, const void *data, size_t len, struct cs_digest *ret, struct cs_err **err);
/* Read-only descriptor or -1. NOT_FOUND when absent. */
CS_MUST_CHECK int cs_blob_open(struct cs_storage *s, const struct cs_digest *d, int *ret_fd, int64_t *ret_size, struct cs_err **err);
/* Whole blob, verified against its digest; at most max bytes. */
CS_MUST_CHECK int cs_blob_get(struct cs_storage *s, const struct cs_digest *d, size_t max, struct cs_str *out, struct cs_err **err);
void cs_blob_remove(struct cs_storage *s, const struct cs_digest *d);
/* A second blob: the gzip of a stored plain tar, deterministic. stop (may be NULL): polled, true cancels. */
CS_MUST_CHECK int cs_blob_gzip(struct cs_storage *s, const struct cs_digest *tar, bool (*stop)(void *ctx), void *ctx, struct cs_digest *ret, int64_t *ret_size,
			       struct cs_err **err);
/* Calls fn for each blob (and each entry that is no blob is removed): used to find what nobody refers to. */
void cs_blob_each(struct cs_storage *s, void (*fn)(void *ctx, const struct cs_digest *d), void *ctx);
/* Replaces index.json; the text comes from the engine, which knows names. */
CS_MUST_CHECK int cs_content_set_index(struct cs_storage *s, const char *json, size_t len, struct cs_err **err);

/* ---- layers (layer.c, unpack.c, extract.c) ---- */
typedef ssize_t (*cs_read_fn)(void *ctx, void *buf, size_t max); /* > 0 bytes, 0 end, -errno */

enum cs_layer_compression { CS_LAYER_TAR, CS_LAYER_GZIP, CS_LAYER_ZSTD };
struct cs_layer_result {
	struct cs_digest diff_id, chain_id, blob; /* blob: digest of what the content store holds, "" when store_blob is false */
	int64_t blob_size, size;                  /* size: bytes of regular files */
	enum cs_layer_compression compression;    /* of the stored blob */
};
struct cs_layer_source {
	cs_read_fn read;
	void *ctx;
	const struct cs_digest *parent;  /* chain id below, or NULL */
	const struct cs_digest *diff_id; /* NULL, or what the uncompressed tar must hash to */
	const struct cs_digest *blob;    /* NULL, or what the stream itself must hash to (with store_blob) */
	bool verified;                   /* the stream is a blob that was hashed when it was stored; a plain tar with this diff_id is not hashed again */
	bool store_blob;                 /* also keep the stream as a blob (as received when tar, gzip or zstd; else gzip) */
	bool keep_broken;                /* when read fails, what came stays for cs_blob_resume (needs blob) */
	struct cs_blob_writer *resumed;  /* NULL, or the writer of cs_blob_resume, with store_blob; taken in any case */
};
/* Extracts a tar in one pass and publishes <data root>/layers/<chain id hex>/diff. When the layer exists already the work is dropped and the
 * existing one stays. INVALID for a malformed or hostile archive, NO_SPACE for a full disk: nothing is left behind. */
CS_MUST_CHECK int cs_layer_unpack(struct cs_storage *s, const struct cs_layer_source *src, struct cs_layer_result *ret, struct cs_err **err);
bool cs_layer_exists(struct cs_storage *s, const struct cs_digest *chain);
char *cs_layer_path(struct cs_storage *s, const struct cs_digest *chain); /* absolute path of diff/; caller frees */
CS_MUST_CHECK int cs_layer_remove(struct cs_storage *s, const struct cs_digest *chain, struct cs_err **err);
/* Are a layer's files those of its blob, which is extracted once more for it (and needs the room meanwhile)? Times of directories do not count: those that no archive
 * names have the time of their extraction. INVALID when the blob itself is damaged. */
CS_MUST_CHECK int cs_layer_compare(struct cs_storage *s, const struct cs_digest *chain, const struct cs_digest *blob, const struct cs_digest *diff, bool *ret_same,
				   struct cs_err **err);
void cs_layer_each(struct cs_storage *s, void (*fn)(void *ctx, const struct cs_digest *chain), void *ctx);
CS_MUST_CHECK int cs_layer_open(struct cs_storage *s, const struct cs_digest *chain, int *ret_fd, struct cs_err **err); /* diff/ */

/* An extracted layer that has no name yet: its parent need not be known while it is unpacked, so all layers of an image can be unpacked at
 * once. It lives in tmp/ until publish gives it its chain id; drop throws it away. */
struct cs_layer_stage;
/* As cs_layer_unpack, without publishing (src->parent is ignored, ret->chain_id stays empty). The blob is committed. */
CS_MUST_CHECK int cs_layer_stage(struct cs_storage *s, const struct cs_layer_source *src, struct cs_layer_stage **ret, struct cs_layer_result *res,
				 struct cs_err **err);
/* Frees stage, also on failure. parent: chain id below, or NULL. */
CS_MUST_CHECK int cs_layer_publish(struct cs_layer_stage *stage, const struct cs_digest *parent, struct cs_digest *ret_chain, struct cs_err **err);
/* Several stages of one image, lowest first, on top of each other and of parent: one sync for all of them (each sync costs what all of the disk's
 * dirty pages cost). ret_chains: NULL or n digests. Frees the stages (the array is the caller's) also on failure; those that got their name by then keep it. */
CS_MUST_CHECK int cs_layers_publish(struct cs_layer_stage **stages, size_t n, const struct cs_digest *parent, struct cs_digest *ret_chains,
				    struct cs_err **err);
void cs_layer_drop(struct cs_layer_stage *stage); /* accepts NULL */

/* ---- archives around images (archive_in.c, archive_out.c) ---- */
/* A tar (plain, gzip, bzip2, xz, zstd) that comes as a stream and is read once, without libarchive when it is not compressed. Links are told, not
 * followed. Every function fails with INVALID for what is truncated or malformed. One thread. */
enum cs_archive_type { CS_ARCHIVE_FILE, CS_ARCHIVE_SYMLINK, CS_ARCHIVE_HARDLINK, CS_ARCHIVE_OTHER };
struct cs_archive_entry {
	enum cs_archive_type type;
	const char *path, *link; /* as written; borrowed until the next call of next */
	int64_t size;
};
struct cs_archive_in;
CS_MUST_CHECK int cs_archive_in_open(cs_read_fn read, void *ctx, struct cs_archive_in **ret, struct cs_err **err);
void cs_archive_in_free(struct cs_archive_in *a); /* accepts NULL */
/* 1: an entry, 0: the end, -1: failure. What was not read of the last entry is skipped. */
CS_MUST_CHECK int cs_archive_in_next(struct cs_archive_in *a, struct cs_archive_entry *ret, struct cs_err **err);
/* The next piece of the entry's data, at most max bytes, borrowed until the next call; *n is 0 at its end. */
CS_MUST_CHECK int cs_archive_in_piece(struct cs_archive_in *a, size_t max, const void **data, size_t *n, struct cs_err **err);
static inline int cs_archive_in_data(struct cs_archive_in *a, const void **data, size_t *n, struct cs_err **err)
{
	return cs_archive_in_piece(a, SIZE_MAX, data, n, err);
}
/* The other way: the header of an entry (root's, of the epoch); a name that ends in '/' is a directory's. At most 100 bytes of name. */
#define CS_ARCHIVE_BLOCK 512
void cs_archive_out_header(char block[CS_ARCHIVE_BLOCK], const char *name, int64_t size);
/* What an entry may be, by its first bytes (512 are enough). FOREIGN: compressed in a way that no layer may have. */
enum cs_content_kind { CS_CONTENT_OTHER, CS_CONTENT_TAR, CS_CONTENT_GZIP, CS_CONTENT_ZSTD, CS_CONTENT_FOREIGN };
enum cs_content_kind cs_content_guess(const void *head, size_t n);

/* ---- trees to tar and back (pack.c, tree_in.c) ---- */
typedef int (*cs_write_fn)(void *ctx, const void *data, size_t len); /* 0 or -errno; takes everything */
/* The difference of a writable layer to what is below it, as an OCI layer: whiteouts as .wh.x, opaque directories as .wh..wh..opq, sorted by name,
 * deterministic. upper_fd: directory in overlayfs' form. skip: sorted paths ("etc/hosts") that are left out with all that is below, or NULL. INVALID for
 * a name that begins with ".wh.": a layer cannot hold it. */
CS_MUST_CHECK int cs_tar_diff(int upper_fd, char *const *skip, cs_write_fn write, void *ctx, struct cs_err **err);
/* The same difference as a stage and a gzip blob (res: all but chain_id), in one pass. packed: called once the upper directory is not read any more, also
 * when that failed, from another thread; NULL = nobody wants to know. */
struct cs_layer_capture {
	int upper_fd;
	char *const *skip;
	void (*packed)(void *ctx);
	void *ctx;
};
CS_MUST_CHECK int cs_layer_capture(struct cs_storage *s, const struct cs_layer_capture *in, struct cs_layer_stage **ret, struct cs_layer_result *res,
				   struct cs_err **err);
/* Everything below one file or directory of a foreign tree: path is resolved in root_fd (RESOLVE_IN_ROOT, no magic links), the last component not
 * followed. Entries are named `as`, `as`/x … ("" with a directory: its content as "./"-less relative names, as Docker's export). Mounts below are crossed. */
struct cs_tar_tree {
	const char *path, *as; /* path NULL: what root_fd is, a file too (O_PATH) */
	bool one_file_system;
	bool live; /* a running container's: the kernel's own file systems (proc, sysfs …) and /dev count as empty directories */
};
CS_MUST_CHECK int cs_tar_tree(int root_fd, const struct cs_tar_tree *t, cs_write_fn write, void *ctx, struct cs_err **err);
/* Extracts a tar (plain, gzip, bzip2, xz, zstd) into a directory of a foreign, live tree, everything resolved inside root_fd. */
struct cs_tar_into {
	const char *path;              /* an existing directory in root_fd */
	bool no_overwrite_dir_nondir;  /* refuse to replace a directory by something else, and the reverse */
	bool chown;                    /* all belongs to uid:gid, not to whom the archive says */
	uint32_t uid, gid;
	ssize_t (*next)(void *ctx, const void **ret); /* the next piece, borrowed until the next call: > 0 bytes, 0 end, -errno */
	void *ctx;
};
CS_MUST_CHECK int cs_tar_into(int root_fd, const struct cs_tar_into *t, struct cs_err **err);

/* A directory (mode 0710) with empty files (mode 0644) of these names, the same array each time; on the data root's file system it may have been made
 * ahead. EEXIST when there is one already. */
CS_MUST_CHECK int cs_dir_create(struct cs_storage *s, const char *path, const char *const *files, struct cs_err **err);

/* ---- snapshots (snapshot.c): <data root>/snapshots/<container id>/{upper,work} ---- */
/* parent: chain id of the top layer, remembered as the target of the link `parent`; NULL for none. */
CS_MUST_CHECK int cs_snap_create(struct cs_storage *s, const char *id, const struct cs_digest *parent, struct cs_err **err);
char *cs_snap_path(struct cs_storage *s, const char *id); /* caller frees */
CS_MUST_CHECK int cs_snap_parent(struct cs_storage *s, const char *id, struct cs_digest *ret, struct cs_err **err); /* s[0] = 0: none */
CS_MUST_CHECK int cs_snap_open_upper(struct cs_storage *s, const char *id, int *ret_fd, struct cs_err **err);
/* Takes a tree away at once and deletes it later: `name` below dirfd, on the data root's file system. Absent is fine. */
CS_MUST_CHECK int cs_storage_discard(struct cs_storage *s, int dirfd, const char *name, struct cs_err **err);
/* Returns once what was discarded before is deleted: who needs its room, on a full disk. */
void cs_storage_discard_wait(struct cs_storage *s);
CS_MUST_CHECK int cs_snap_remove(struct cs_storage *s, const char *id, struct cs_err **err); /* absent is fine */
/* At most so many bytes in the snapshot, which is new and empty: by a project quota. INTERNAL with Docker's sentence where the file system has none. */
CS_MUST_CHECK int cs_snap_limit(struct cs_storage *s, const char *id, int64_t bytes, struct cs_err **err);
bool cs_storage_has_quota(struct cs_storage *s);
CS_MUST_CHECK int cs_snap_usage(struct cs_storage *s, const char *id, int64_t *ret_bytes, struct cs_err **err);
/* Fails when it has not seen all of them: who deletes by what it says must not go on then. */
CS_MUST_CHECK int cs_snap_each(struct cs_storage *s, void (*fn)(void *ctx, const char *id), void *ctx, struct cs_err **err);

/* ---- roots (root_linux.c): the file system of a container that does not run, visible to nobody else ---- */
struct cs_root;
struct cs_root_bind {
	const char *source, *subpath; /* of the host: file or directory; subpath: NULL, or below it (links may not lead out) */
	const char *destination;      /* absolute and clean; resolved inside the root */
	bool recursive, read_only, recursive_ro;
};
struct cs_root_spec {
	const char *id;              /* snapshot */
	char *const *layers;         /* chain ids, top-most first */
	bool read_only;              /* nothing of the snapshot changes, and its work directory is not used: may go beside anything */
	const struct cs_root_bind *binds; /* parents before children */
	size_t n_binds;
};
/* Writable: the caller sees to it that nobody else has the snapshot mounted until release. */
CS_MUST_CHECK int cs_root_attach(struct cs_storage *s, const struct cs_root_spec *spec, struct cs_root **ret, struct cs_err **err);
int cs_root_fd(const struct cs_root *r); /* O_PATH; borrowed */
/* Mount points that the root lacks are not made: such a bind stays beside. The descriptor and the path below it at which `path` (absolute, clean)
 * is found: of a bind beside that holds it, else of the root. Negative: the bind's source is gone, or is a file. Borrowed. */
int cs_root_at(const struct cs_root *r, const char *path, const char **ret_path);
/* Of a container that runs: its root's own files, also those below mount points, and nothing that is mounted there. O_PATH, attached nowhere. */
CS_MUST_CHECK int cs_root_running(int mount_ns_fd, int *ret_fd, struct cs_err **err);
void cs_root_release(struct cs_root *r); /* everything is unmounted on return; accepts NULL */

/* ---- volumes (volume_linux.c, volume_fill.c): <data root>/volumes/<name>/{_data,opts.json}; the caller serialises work on one ---- */
/* Complete or absent, also after a crash. opts: text of opts.json, or NULL. A directory that exists stays as it is, but for a missing _data.
 * ret_made (may be NULL): whether it was not there before. */
CS_MUST_CHECK int cs_vol_create(struct cs_storage *s, const char *name, const char *opts, bool *ret_made, struct cs_err **err);
/* Unmounts, takes the directory away at once and deletes it later; absent is fine. */
CS_MUST_CHECK int cs_vol_remove(struct cs_storage *s, const char *name, struct cs_err **err);
bool cs_vol_exists(struct cs_storage *s, const char *name);
char *cs_vol_path(struct cs_storage *s, const char *name); /* of _data; caller frees */
CS_MUST_CHECK int cs_vol_open(struct cs_storage *s, const char *name, int *ret_fd, struct cs_err **err); /* _data, or what is mounted there */
CS_MUST_CHECK int cs_vol_options(struct cs_storage *s, const char *name, struct cs_str *out, struct cs_err **err); /* opts.json; nothing when absent */
void cs_vol_each(struct cs_storage *s, void (*fn)(void *ctx, const char *name, int64_t made_ns), void *ctx);
struct cs_vol_mount { /* the local driver's options type, device and o */
	const char *type, *device, *options;
};
/* On _data, for everybody. INTERNAL with dockerd's sentence when the kernel refuses. May block as long as a server does. */
CS_MUST_CHECK int cs_vol_mount(struct cs_storage *s, const char *name, const struct cs_vol_mount *m, struct cs_err **err);
CS_MUST_CHECK int cs_vol_unmount(struct cs_storage *s, const char *name, struct cs_err **err); /* not mounted is fine */
bool cs_vol_is_mounted(struct cs_storage *s, const char *name);
struct cs_vol_fill {
	int source_fd;       /* directory; what it holds and its own owner, mode and attributes are copied */
	const char *what;    /* its path, for messages */
	const char *subpath; /* of the volume, or NULL; when it is missing nothing happens */
	bool in_use;         /* somebody may have the volume's directory mounted */
};
/* Into an empty volume only. Fails clean: nothing is left in it. */
CS_MUST_CHECK int cs_vol_fill(struct cs_storage *s, const char *name, const struct cs_vol_fill *f, struct cs_err **err);
bool cs_vol_is_empty(struct cs_storage *s, const char *name, const char *subpath); /* and exists */

/* Is fd on one of the kernel's own file systems (proc, sysfs, cgroup, devpts, …)? What is there is made up while it is read, may never end, and is no
 * file of a container's. */
bool cs_is_kernel_fs(int fd);

/* Bytes of regular files and links below a directory, hard links once, without crossing into another file system. */
CS_MUST_CHECK int cs_tree_usage(int dir_fd, int64_t *ret, struct cs_err **err);

/* ---- check and repair (check.c) ---- */
enum cs_check_kind {
	CS_CHECK_TMP,           /* rubbish in tmp/; repaired: taken away */
	CS_CHECK_FOREIGN,       /* a name in layers/ or among the blobs that means nothing; repaired (blobs): taken away */
	CS_CHECK_LAYER_DAMAGED, /* repaired: taken away, so that a pull brings it again */
	CS_CHECK_LAYER_UNUSED,  /* repaired: taken away */
	CS_CHECK_SNAP_DAMAGED,  /* repaired when only work was missing */
	CS_CHECK_SNAP_UNUSED,   /* repaired: taken away */
	CS_CHECK_SNAP_PARENT,   /* its layer is missing or not told; not repaired: its files may be all that is left */
	CS_CHECK_BLOB_DAMAGED,  /* repaired: taken away */
	CS_CHECK_BLOB_UNUSED,   /* repaired: taken away */
	CS_CHECK_LAYOUT,        /* oci-layout; repaired: written anew */
	CS_CHECK_INDEX,         /* index.json; one that cannot be read is repaired to an empty one, the engine writes the names */
};
struct cs_check_problem {
	enum cs_check_kind kind;
	const char *name; /* digest, chain id, container id or file name */
	const char *text; /* to be read behind the name: "has lost its files" */
	bool repaired;
};
struct cs_check_options {
	bool repair, deep; /* deep: every blob is read and hashed */
	/* Whether somebody needs it; NULL: not asked. What is being pulled or made right now has to be answered with true. */
	bool (*layer_used)(void *ctx, const struct cs_digest *chain);
	bool (*blob_used)(void *ctx, const struct cs_digest *d);
	bool (*snap_used)(void *ctx, const char *id);
	void *ctx;
};
/* Whoever finds a layer or blob of his own missing asks cs_layer_exists, cs_blob_open. Fails only when a folder cannot be read. */
CS_MUST_CHECK int cs_storage_check(struct cs_storage *s, const struct cs_check_options *o, void (*report)(void *ctx, const struct cs_check_problem *p),
				   void *ctx, struct cs_err **err);

/* INTERNAL, or NO_SPACE when sys says that the disk (or quota) is full. */
enum cs_code cs_storage_code(int sys);
#endif
