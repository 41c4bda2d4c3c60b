/* SPDX-License-Identifier: Apache-2.0
 *
 * The groups of commands, and what Docker has and this client answers with a reason. */
#include "cli/cli.h"

#define NO_SWARM "this engine has no swarm mode"
#define NO_PLUGIN "not done yet in this version of caisson, and caissond has no managed plugins"
#define NO_TRUST "content trust (Notary v1) is not supported"
#define NO_CHECKPOINT "checkpoints are not supported"

bool go_false(const char *s)
{
	static const char *const words[] = {"false", "0", "f", "F", "False", "FALSE"};

	for (size_t i = 0; i < CS_ARRAY_SIZE(words); i++)
		if (cs_streq(s, words[i]))
			return true;
	return false;
}

char *check_no_trust(char **value)
{
	return go_false(*value) ? cs_xstrdup(NO_TRUST) : NULL;
}

char *check_key_value(char **value)
{
	cs_autostrv char **list = NULL;

	(void)csv_split(*value, &list);
	for (char **v = list; v && *v; v++)
		if (!strchr(*v, '='))
			return cs_xasprintf("%s must be formatted as key=value", *v);
	return NULL;
}

const struct command group_commands[] = {
	{.names = "container", .usage = "COMMAND", .help = "Manage containers"},
	{.names = "context", .usage = "COMMAND", .help = "Manage contexts"},
	{.names = "image", .usage = "COMMAND", .help = "Manage images"},
	{.names = "manifest", .usage = "COMMAND", .help = "Manage Docker image manifests and manifest lists",
	 .about = "The **docker manifest** command has subcommands for managing image manifests and\nmanifest lists. A manifest list allows you to use one name to refer to the same image\n"
		  "built for multiple architectures.\n\nTo see help for a subcommand, use:\n\n    caisson manifest CMD --help\n\n"
		  "For full details on using docker manifest lists, see the registry v2 specification.\n\n"
		  "EXPERIMENTAL:\n  docker manifest is an experimental feature.\n  Experimental features provide early access to product functionality. These\n"
		  "  features may change between releases without warning, or can be removed from a\n  future release. Learn more about experimental features in our documentation:\n"
		  "  https://docs.docker.com/go/experimental/"},
	{.names = "network", .usage = "COMMAND", .help = "Manage networks"},
	{.names = "plugin", .usage = "COMMAND", .help = "Manage plugins"},
	{.names = "system", .usage = "COMMAND", .help = "Manage Caisson"},
	{.names = "volume", .usage = "COMMAND", .help = "Manage volumes"},
	CMD_END,
};

/* clang-format off */
const struct command refused_commands[] = {
	{.names = "image build|build|builder build", .usage = "[OPTIONS] PATH | URL | -", .help = "Build an image from a Dockerfile", .flags = CMD_HIDDEN, .refused_flags = "add-host|build-arg|cache-from|cgroup-parent|compress|cpu-period|cpu-quota|cpu-shares|cpuset-cpus|cpuset-mems|disable-content-trust|file|force-rm|iidfile|isolation|label|memory|memory-swap|network|no-cache|platform|pull|quiet|rm|security-opt|shm-size|squash|tag|target|ulimit", .refused = NOT_YET, .max = ANY},
	{.names = "builder", .usage = "COMMAND", .help = "Manage builds", .flags = CMD_HIDDEN, .refused = NOT_YET},
	{.names = "builder prune", .usage = "", .help = "Remove build cache", .flags = CMD_HIDDEN, .refused_flags = "all|filter|force|keep-storage", .refused = NOT_YET, .max = ANY},
	{.names = "checkpoint", .usage = "COMMAND", .help = "Manage checkpoints", .flags = CMD_HIDDEN, .refused = NO_CHECKPOINT},
	{.names = "checkpoint create", .usage = "[OPTIONS] CONTAINER CHECKPOINT", .help = "Create a checkpoint from a running container", .flags = CMD_HIDDEN, .refused_flags = "checkpoint-dir|leave-running", .refused = NO_CHECKPOINT, .max = ANY},
	{.names = "checkpoint ls|checkpoint list", .usage = "[OPTIONS] CONTAINER", .help = "List checkpoints for a container", .flags = CMD_HIDDEN, .refused_flags = "checkpoint-dir", .refused = NO_CHECKPOINT, .max = ANY},
	{.names = "checkpoint rm|checkpoint remove", .usage = "[OPTIONS] CONTAINER CHECKPOINT", .help = "Remove a checkpoint", .flags = CMD_HIDDEN, .refused_flags = "checkpoint-dir", .refused = NO_CHECKPOINT, .max = ANY},
	{.names = "plugin create", .usage = "[OPTIONS] PLUGIN PLUGIN-DATA-DIR", .help = "Create a plugin from a rootfs and configuration. Plugin data directory must contain config.json and rootfs directory.", .flags = CMD_HIDDEN, .refused_flags = "compress", .refused = NO_PLUGIN, .max = ANY},
	{.names = "plugin install", .usage = "[OPTIONS] PLUGIN [KEY=VALUE...]", .help = "Install a plugin", .flags = CMD_HIDDEN, .refused_flags = "alias|disable|disable-content-trust|grant-all-permissions", .refused = NO_PLUGIN, .max = ANY},
	{.names = "plugin upgrade", .usage = "[OPTIONS] PLUGIN [REMOTE]", .help = "Upgrade an existing plugin", .flags = CMD_HIDDEN, .refused_flags = "disable-content-trust|grant-all-permissions|skip-remote-check", .refused = NO_PLUGIN, .max = ANY},
	{.names = "trust", .usage = "COMMAND", .help = "Manage trust on Docker images", .flags = CMD_HIDDEN, .refused = NO_TRUST},
	{.names = "trust key", .usage = "COMMAND", .help = "Manage keys for signing Docker images", .flags = CMD_HIDDEN, .refused = NO_TRUST},
	{.names = "trust key generate", .usage = "NAME", .help = "Generate and load a signing key-pair", .flags = CMD_HIDDEN, .refused_flags = "dir", .refused = NO_TRUST, .max = ANY},
	{.names = "trust key load", .usage = "[OPTIONS] KEYFILE", .help = "Load a private key file for signing", .flags = CMD_HIDDEN, .refused_flags = "name", .refused = NO_TRUST, .max = ANY},
	{.names = "trust signer", .usage = "COMMAND", .help = "Manage entities who can sign Docker images", .flags = CMD_HIDDEN, .refused = NO_TRUST},
	{.names = "trust signer add", .usage = "OPTIONS NAME REPOSITORY [REPOSITORY...]", .help = "Add a signer", .flags = CMD_HIDDEN, .refused_flags = "key", .refused = NO_TRUST, .max = ANY},
	{.names = "trust signer remove", .usage = "[OPTIONS] NAME REPOSITORY [REPOSITORY...]", .help = "Remove a signer", .flags = CMD_HIDDEN, .refused_flags = "force", .refused = NO_TRUST, .max = ANY},
	{.names = "trust inspect", .usage = "IMAGE[:TAG] [IMAGE[:TAG]...]", .help = "Return low-level information about keys and signatures", .flags = CMD_HIDDEN, .refused_flags = "pretty", .refused = NO_TRUST, .max = ANY},
	{.names = "trust revoke", .usage = "[OPTIONS] IMAGE[:TAG]", .help = "Remove trust for an image", .flags = CMD_HIDDEN, .refused_flags = "yes", .refused = NO_TRUST, .max = ANY},
	{.names = "trust sign", .usage = "IMAGE:TAG", .help = "Sign an image", .flags = CMD_HIDDEN, .refused_flags = "local", .refused = NO_TRUST, .max = ANY},
	{.names = "config", .usage = "COMMAND", .help = "Manage Swarm configs", .flags = CMD_HIDDEN, .refused = NO_SWARM},
	{.names = "config create", .usage = "[OPTIONS] CONFIG file|-", .help = "Create a config from a file or STDIN", .flags = CMD_HIDDEN, .refused_flags = "label|template-driver", .refused = NO_SWARM, .max = ANY},
	{.names = "config inspect", .usage = "[OPTIONS] CONFIG [CONFIG...]", .help = "Display detailed information on one or more configs", .flags = CMD_HIDDEN, .refused_flags = "format|pretty", .refused = NO_SWARM, .max = ANY},
	{.names = "config ls|config list", .usage = "[OPTIONS]", .help = "List configs", .flags = CMD_HIDDEN, .refused_flags = "filter|format|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "config rm|config remove", .usage = "CONFIG [CONFIG...]", .help = "Remove one or more configs", .flags = CMD_HIDDEN, .refused = NO_SWARM, .max = ANY},
	{.names = "node", .usage = "COMMAND", .help = "Manage Swarm nodes", .flags = CMD_HIDDEN, .refused = NO_SWARM},
	{.names = "node demote", .usage = "NODE [NODE...]", .help = "Demote one or more nodes from manager in the swarm", .flags = CMD_HIDDEN, .refused = NO_SWARM, .max = ANY},
	{.names = "node inspect", .usage = "[OPTIONS] self|NODE [NODE...]", .help = "Display detailed information on one or more nodes", .flags = CMD_HIDDEN, .refused_flags = "format|pretty", .refused = NO_SWARM, .max = ANY},
	{.names = "node ls|node list", .usage = "[OPTIONS]", .help = "List nodes in the swarm", .flags = CMD_HIDDEN, .refused_flags = "filter|format|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "node promote", .usage = "NODE [NODE...]", .help = "Promote one or more nodes to manager in the swarm", .flags = CMD_HIDDEN, .refused = NO_SWARM, .max = ANY},
	{.names = "node ps", .usage = "[OPTIONS] [NODE...]", .help = "List tasks running on one or more nodes, defaults to current node", .flags = CMD_HIDDEN, .refused_flags = "filter|format|no-resolve|no-trunc|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "node rm|node remove", .usage = "[OPTIONS] NODE [NODE...]", .help = "Remove one or more nodes from the swarm", .flags = CMD_HIDDEN, .refused_flags = "force", .refused = NO_SWARM, .max = ANY},
	{.names = "node update", .usage = "[OPTIONS] NODE", .help = "Update a node", .flags = CMD_HIDDEN, .refused_flags = "availability|label-add|label-rm|role", .refused = NO_SWARM, .max = ANY},
	{.names = "secret", .usage = "COMMAND", .help = "Manage Swarm secrets", .flags = CMD_HIDDEN, .refused = NO_SWARM},
	{.names = "secret create", .usage = "[OPTIONS] SECRET [file|-]", .help = "Create a secret from a file or STDIN as content", .flags = CMD_HIDDEN, .refused_flags = "driver|label|template-driver", .refused = NO_SWARM, .max = ANY},
	{.names = "secret inspect", .usage = "[OPTIONS] SECRET [SECRET...]", .help = "Display detailed information on one or more secrets", .flags = CMD_HIDDEN, .refused_flags = "format|pretty", .refused = NO_SWARM, .max = ANY},
	{.names = "secret ls|secret list", .usage = "[OPTIONS]", .help = "List secrets", .flags = CMD_HIDDEN, .refused_flags = "filter|format|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "secret rm|secret remove", .usage = "SECRET [SECRET...]", .help = "Remove one or more secrets", .flags = CMD_HIDDEN, .refused = NO_SWARM, .max = ANY},
	{.names = "service", .usage = "COMMAND", .help = "Manage Swarm services", .flags = CMD_HIDDEN, .refused = NO_SWARM},
	{.names = "service create", .usage = "[OPTIONS] IMAGE [COMMAND] [ARG...]", .help = "Create a new service", .flags = CMD_HIDDEN, .refused_flags = "cap-add|cap-drop|config|constraint|container-label|credential-spec|detach|dns|dns-option|dns-search|endpoint-mode|entrypoint|env|env-file|generic-resource|group|health-cmd|health-interval|health-retries|health-start-interval|health-start-period|health-timeout|host|hostname|init|isolation|label|limit-cpu|limit-memory|limit-pids|log-driver|log-opt|max-concurrent|mode|mount|name|network|no-healthcheck|no-resolve-image|oom-score-adj|placement-pref|publish|quiet|read-only|replicas|replicas-max-per-node|reserve-cpu|reserve-memory|restart-condition|restart-delay|restart-max-attempts|restart-window|rollback-delay|rollback-failure-action|rollback-max-failure-ratio|rollback-monitor|rollback-order|rollback-parallelism|secret|stop-grace-period|stop-signal|sysctl|tty|ulimit|update-delay|update-failure-action|update-max-failure-ratio|update-monitor|update-order|update-parallelism|user|with-registry-auth|workdir", .refused = NO_SWARM, .max = ANY},
	{.names = "service inspect", .usage = "[OPTIONS] SERVICE [SERVICE...]", .help = "Display detailed information on one or more services", .flags = CMD_HIDDEN, .refused_flags = "format|pretty", .refused = NO_SWARM, .max = ANY},
	{.names = "service logs", .usage = "[OPTIONS] SERVICE|TASK", .help = "Fetch the logs of a service or task", .flags = CMD_HIDDEN, .refused_flags = "details|follow|no-resolve|no-task-ids|no-trunc|raw|since|tail|timestamps", .refused = NO_SWARM, .max = ANY},
	{.names = "service ls|service list", .usage = "[OPTIONS]", .help = "List services", .flags = CMD_HIDDEN, .refused_flags = "filter|format|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "service ps", .usage = "[OPTIONS] SERVICE [SERVICE...]", .help = "List the tasks of one or more services", .flags = CMD_HIDDEN, .refused_flags = "filter|format|no-resolve|no-trunc|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "service rm|service remove", .usage = "SERVICE [SERVICE...]", .help = "Remove one or more services", .flags = CMD_HIDDEN, .refused = NO_SWARM, .max = ANY},
	{.names = "service rollback", .usage = "[OPTIONS] SERVICE", .help = "Revert changes to a service's configuration", .flags = CMD_HIDDEN, .refused_flags = "detach|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "service scale", .usage = "SERVICE=REPLICAS [SERVICE=REPLICAS...]", .help = "Scale one or multiple replicated services", .flags = CMD_HIDDEN, .refused_flags = "detach", .refused = NO_SWARM, .max = ANY},
	{.names = "service update", .usage = "[OPTIONS] SERVICE", .help = "Update a service", .flags = CMD_HIDDEN, .refused_flags = "args|cap-add|cap-drop|config-add|config-rm|constraint-add|constraint-rm|container-label-add|container-label-rm|credential-spec|detach|dns-add|dns-option-add|dns-option-rm|dns-rm|dns-search-add|dns-search-rm|endpoint-mode|entrypoint|env-add|env-rm|force|generic-resource-add|generic-resource-rm|group-add|group-rm|health-cmd|health-interval|health-retries|health-start-interval|health-start-period|health-timeout|host-add|host-rm|hostname|image|init|isolation|label-add|label-rm|limit-cpu|limit-memory|limit-pids|log-driver|log-opt|max-concurrent|mount-add|mount-rm|network-add|network-rm|no-healthcheck|no-resolve-image|oom-score-adj|placement-pref-add|placement-pref-rm|publish-add|publish-rm|quiet|read-only|replicas|replicas-max-per-node|reserve-cpu|reserve-memory|restart-condition|restart-delay|restart-max-attempts|restart-window|rollback|rollback-delay|rollback-failure-action|rollback-max-failure-ratio|rollback-monitor|rollback-order|rollback-parallelism|secret-add|secret-rm|stop-grace-period|stop-signal|sysctl-add|sysctl-rm|tty|ulimit-add|ulimit-rm|update-delay|update-failure-action|update-max-failure-ratio|update-monitor|update-order|update-parallelism|user|with-registry-auth|workdir", .refused = NO_SWARM, .max = ANY},
	{.names = "stack", .usage = "COMMAND", .help = "Manage Swarm stacks", .flags = CMD_HIDDEN, .refused = NO_SWARM},
	{.names = "stack config", .usage = "[OPTIONS]", .help = "Outputs the final config file, after doing merges and interpolations", .flags = CMD_HIDDEN, .refused_flags = "compose-file|skip-interpolation", .refused = NO_SWARM, .max = ANY},
	{.names = "stack deploy|stack up", .usage = "[OPTIONS] STACK", .help = "Deploy a new stack or update an existing stack", .flags = CMD_HIDDEN, .refused_flags = "compose-file|detach|prune|quiet|resolve-image|with-registry-auth", .refused = NO_SWARM, .max = ANY},
	{.names = "stack ls|stack list", .usage = "[OPTIONS]", .help = "List stacks", .flags = CMD_HIDDEN, .refused_flags = "format", .refused = NO_SWARM, .max = ANY},
	{.names = "stack ps", .usage = "[OPTIONS] STACK", .help = "List the tasks in the stack", .flags = CMD_HIDDEN, .refused_flags = "filter|format|no-resolve|no-trunc|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "stack rm|stack remove|stack down", .usage = "[OPTIONS] STACK [STACK...]", .help = "Remove one or more stacks", .flags = CMD_HIDDEN, .refused_flags = "detach", .refused = NO_SWARM, .max = ANY},
	{.names = "stack services", .usage = "[OPTIONS] STACK", .help = "List the services in the stack", .flags = CMD_HIDDEN, .refused_flags = "filter|format|quiet", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm", .usage = "COMMAND", .help = "Manage Swarm", .flags = CMD_HIDDEN, .refused = NO_SWARM},
	{.names = "swarm ca", .usage = "[OPTIONS]", .help = "Display and rotate the root CA", .flags = CMD_HIDDEN, .refused_flags = "ca-cert|ca-key|cert-expiry|detach|external-ca|quiet|rotate", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm init", .usage = "[OPTIONS]", .help = "Initialize a swarm", .flags = CMD_HIDDEN, .refused_flags = "advertise-addr|autolock|availability|cert-expiry|data-path-addr|data-path-port|default-addr-pool|default-addr-pool-mask-length|dispatcher-heartbeat|external-ca|force-new-cluster|listen-addr|max-snapshots|snapshot-interval|task-history-limit", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm join", .usage = "[OPTIONS] HOST:PORT", .help = "Join a swarm as a node and/or manager", .flags = CMD_HIDDEN, .refused_flags = "advertise-addr|availability|data-path-addr|listen-addr|token", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm join-token", .usage = "[OPTIONS] (worker|manager)", .help = "Manage join tokens", .flags = CMD_HIDDEN, .refused_flags = "quiet|rotate", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm leave", .usage = "[OPTIONS]", .help = "Leave the swarm", .flags = CMD_HIDDEN, .refused_flags = "force", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm unlock", .usage = "", .help = "Unlock swarm", .flags = CMD_HIDDEN, .refused = NO_SWARM, .max = ANY},
	{.names = "swarm unlock-key", .usage = "[OPTIONS]", .help = "Manage the unlock key", .flags = CMD_HIDDEN, .refused_flags = "quiet|rotate", .refused = NO_SWARM, .max = ANY},
	{.names = "swarm update", .usage = "[OPTIONS]", .help = "Update the swarm", .flags = CMD_HIDDEN, .refused_flags = "autolock|cert-expiry|dispatcher-heartbeat|external-ca|max-snapshots|snapshot-interval|task-history-limit", .refused = NO_SWARM, .max = ANY},
	CMD_END,
};
