/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/json, member for member in dockerd's order. */
#include "engine/view.h"

#include "base/json.h"
#include "base/path.h"
#include "base/time.h"
#include "engine/image.h"
#include "engine/network.h"
#include "engine/spec.h"
#include "engine/validate.h"
#include "computestorage.h"

static void put_state(struct cs_container *c, struct cs_str *out)
{
	enum cs_status st = cs_container_status(c);

	cs_json_put_key(out, "State");
	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Status", cs_status_name(st));
	cs_json_put_kbool(out, "Running", c->status == CS_ST_RUNNING || c->status == CS_ST_RESTARTING);
	cs_json_put_kbool(out, "Paused", c->paused);
	cs_json_put_kbool(out, "Restarting", c->status == CS_ST_RESTARTING);
	cs_json_put_kbool(out, "OOMKilled", c->oom);
	cs_json_put_kbool(out, "Dead", c->dead);
	cs_json_put_ki64(out, "Pid", c->pid);
	cs_json_put_ki64(out, "ExitCode", c->exit_code);
	cs_json_put_kstr(out, "Error", c->error);
	cs_json_put_ktime(out, "StartedAt", c->started_at);
	cs_json_put_ktime(out, "FinishedAt", c->finished_at);
	cs_health_json(c, out);
	cs_str_putc(out, '}');
}

static void put_path(struct cs_str *out, const char *key, const char *dir, const char *name, bool ever)
{
	cs_autofree char *p = ever ? cs_path_join(dir, name) : cs_xstrdup("");
	cs_json_put_kstr(out, key, p);
}

static void put_graph_driver(struct cs_container *c, const struct cs_image_info *img, const char *snap, struct cs_str *out)
{
	cs_autofree char *lower = img ? cs_strv_join(img->layer_dirs, ":") : NULL;
	static const char *const keys[][2] = {{"MergedDir", "merged"}, {"UpperDir", "upper"}, {"WorkDir", "work"}};

	cs_json_put_key(out, "GraphDriver");
	cs_str_puts(out, "{\"Data\":{");
	cs_json_put_kstr(out, "ID", c->id);
	cs_json_put_kstr(out, "LowerDir", lower);
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++) {
		cs_autofree char *p = cs_path_join(snap, keys[i][1]);
		cs_json_put_kstr(out, keys[i][0], p);
	}
	cs_str_puts(out, "},\"Name\":\"overlay2\"}");
}

/* The sandbox is the network namespace of this run: its id is derived from container and run, its key is what one can enter. */
static void put_sandbox(struct cs_container *c, struct cs_str *out)
{
	char key[64] = "";
	struct cs_digest id = {0};
	bool joined = cs_mode_container(c->host->network_mode) != NULL, host = cs_streq(c->host->network_mode, "host");

	if (c->status == CS_ST_RUNNING && !joined) {
		cs_autofree char *text = cs_xasprintf("%s/%lld", c->id, (long long)c->started_at);
		cs_hash_data(text, strlen(text), &id);
		(void)snprintf(key, sizeof(key), host ? "/proc/1/ns/net" : "/proc/%d/ns/net", c->pid);
	}
	cs_json_put_kstr(out, "SandboxID", *key ? cs_digest_hex(&id) : "");
	cs_json_put_kstr(out, "SandboxKey", key);
}

static void put_network_settings(struct cs_container *c, int api, struct cs_str *out)
{

	cs_json_put_key(out, "NetworkSettings");
	cs_str_putc(out, '{');
	if (api && api < 152)
		cs_json_put_kstr(out, "Bridge", "");
	put_sandbox(c, out);
	cs_view_network_settings(c, api, out);
	cs_str_putc(out, '}');
}

/* owner: whose network it joined, or NULL */
static void put_head(struct cs_container *c, const struct cs_container *owner, const struct cs_str *manifest, struct cs_str *out)
{
	cs_autofree char **argv = cs_view_argv(c->config);
	cs_autofree char *name = cs_xasprintf("/%s", c->name);
	bool files = c->ever_started && (owner || !cs_mode_container(c->host->network_mode));
	const char *dir = owner ? owner->dir : c->dir;

	cs_json_put_kstr(out, "Id", c->id);
	cs_json_put_ktime(out, "Created", c->created);
	cs_json_put_kstr(out, "Path", argv[0]);
	cs_json_put_key(out, "Args");
	if (argv[0] && argv[1])
		cs_json_put_strv(out, argv + 1);
	else
		cs_str_puts(out, "[]");
	put_state(c, out);
	cs_json_put_kstr(out, "Image", c->image_id);
	put_path(out, "ResolvConfPath", dir, "resolv.conf", files);
	put_path(out, "HostnamePath", dir, "hostname", files);
	put_path(out, "HostsPath", dir, "hosts", files);
	cs_json_put_kstr(out, "LogPath", cs_streq(c->log_driver, "json-file") ? c->log_path : "");
	cs_json_put_kstr(out, "Name", name);
	cs_json_put_ki64(out, "RestartCount", c->restart_count);
	cs_json_put_kstr(out, "Driver", "overlay2");
	cs_json_put_kstr(out, "Platform", c->os);
	if (manifest->len) {
		cs_json_put_key(out, "ImageManifestDescriptor");
		cs_str_put(out, manifest->buf, manifest->len);
	}
	cs_json_put_kstr(out, "MountLabel", "");
	cs_json_put_kstr(out, "ProcessLabel", "");
	cs_json_put_kstr(out, "AppArmorProfile", "");
}

static void put_execs(struct cs_container *c, struct cs_str *out)
{
	cs_autostrv char **ids = NULL;

	cs_execs_ids(c, &ids);
	cs_json_put_key(out, "ExecIDs");
	cs_json_put_strv(out, ids);
}

int cs_container_inspect(struct cs_engine *e, const char *ref, bool size, int api, struct cs_str *out, struct cs_err **err)
{
	cs_autocontainer struct cs_container *c = NULL;
	cs_autofree char *snap = NULL;
	struct cs_image_info *img = NULL;
	int64_t rw = 0, root = 0;
	cs_autostr struct cs_str manifest = CS_STR_INIT(128u << 10);

	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	cs_container_await_exit(c);
	if (cs_image_get(e, c->image_id, NULL, &img, NULL) < 0)
		img = NULL; /* force-removed: the container lives on */
	cs_snapshot_dir(e, c->id, &snap);
	if (!api || api >= 148)
		cs_image_put_descriptor(&manifest, e, c->image_id);
	if (size && cs_snapshot_usage(e, c->id, &rw, &root, NULL) < 0)
		size = false;
	struct cs_config config = *c->config; /* borrowed; constant */
	cs_autocontainer struct cs_container *owner = cs_net_names(c, &config);
	pthread_mutex_lock(&c->lock);
	if (!c->ever_started)
		config = *c->config;
	const struct cs_endpoint_settings *main_endpoint = cs_container_endpoint(c, cs_container_main_network(c));
	if (cs_empty(config.mac_address) && main_endpoint)
		config.mac_address = main_endpoint->wanted_mac; /* where older clients look for it, whichever way it was given */
	cs_str_putc(out, '{');
	put_head(c, owner, &manifest, out);
	put_execs(c, out);
	cs_json_put_key(out, "HostConfig");
	struct cs_host_config host = *c->host; /* borrowed */
	cs_autostrv char **links = cs_links_view(c);
	host.links = links;
	cs_autofree struct cs_ulimit *ulimits = cs_ulimits_merged(cs_engine_config(c->e), &host.res, &host.res.n_ulimits);
	if (host.res.n_ulimits)
		host.res.ulimits = ulimits;
	cs_json_encode(&cs_host_config_type, &host, api, out);
	put_graph_driver(c, img, snap, out);
	if (size) {
		cs_json_put_ki64(out, "SizeRw", rw);
		cs_json_put_ki64(out, "SizeRootFs", root);
	}
	cs_json_put_key(out, "Mounts");
	cs_containers_json_mounts(c->mounts, c->n_mounts, false, out);
	cs_json_put_key(out, "Config");
	cs_json_encode(&cs_config_type, &config, api, out);
	put_network_settings(c, api, out);
	cs_str_putc(out, '}');
	pthread_mutex_unlock(&c->lock);
	cs_image_info_free(img);
	return out->failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "the answer is too large") : 0;
}
