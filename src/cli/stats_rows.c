/* SPDX-License-Identifier: Apache-2.0
 *
 * The rows of `stats`. */
#include <string.h>

#include "cli/rows.h"

#define NO_VALUE "--"

METHOD(stats_container) { return text_value(((struct stats_entry *)self)->container); }
METHOD(stats_name)
{
	const char *name = ((struct stats_entry *)self)->name;
	return text_value(name && strlen(name) > 1 ? name + 1 : NO_VALUE);
}
METHOD(stats_id)
{
	const struct stats_entry *s = self;
	const char *id = s->id ? s->id : "";
	return text_value(s->trunc ? truncate_id(a, id) : id);
}
METHOD(stats_cpu)
{
	const struct stats_entry *s = self;
	return text_value(s->invalid ? NO_VALUE : tpl_printf(a, "%.2f%%", s->cpu_percent));
}
METHOD(stats_memory)
{
	const struct stats_entry *s = self;
	return text_value(s->invalid ? "-- / --" : tpl_printf(a, "%s / %s", binary_size_text(a, s->memory), binary_size_text(a, s->memory_limit)));
}
METHOD(stats_memory_percent)
{
	const struct stats_entry *s = self;
	return text_value(s->invalid ? NO_VALUE : tpl_printf(a, "%.2f%%", s->memory_percent));
}
METHOD(stats_net)
{
	const struct stats_entry *s = self;
	return text_value(s->invalid ? NO_VALUE : tpl_printf(a, "%s / %s", size_text(a, s->net_rx, 3), size_text(a, s->net_tx, 3)));
}
METHOD(stats_block)
{
	const struct stats_entry *s = self;
	return text_value(s->invalid ? NO_VALUE : tpl_printf(a, "%s / %s", size_text(a, s->block_read, 3), size_text(a, s->block_write, 3)));
}
METHOD(stats_pids)
{
	const struct stats_entry *s = self;
	return text_value(s->invalid ? NO_VALUE : tpl_printf(a, "%llu", (unsigned long long)s->pids));
}

static const struct tpl_method methods[] = {{"BlockIO", stats_block}, {"CPUPerc", stats_cpu}, {"Container", stats_container}, {"ID", stats_id}, {"MemPerc", stats_memory_percent},
					    {"MemUsage", stats_memory}, {"Name", stats_name}, {"NetIO", stats_net}, {"PIDs", stats_pids}, {NULL}};
const struct tpl_class stats_class = {"*container.statsContext", methods};
const char *const stats_headers[] = {"Container", "CONTAINER", "Name", "NAME", "ID", "CONTAINER ID", "CPUPerc", "CPU %", "MemUsage", "MEM USAGE / LIMIT", "MemPerc", "MEM %", "NetIO", "NET I/O",
				     "BlockIO", "BLOCK I/O", "PIDs", "PIDS", NULL};

const char *stats_format(const char *source)
{
	return cs_streq(source, "table") ? "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}" : source;
}
