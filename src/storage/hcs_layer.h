/* SPDX-License-Identifier: Apache-2.0
 *
 * Between the documents (hcs_document.c) and the functions (hcs_layer_linux.c) of host compute storage. */
#pragma once

#include "storage/internal.h"

struct cs_hcs_layers {
	char **paths; /* parents, nearest first */
	size_t n;
	bool wcifs; /* FilterType */
};
/* data: a layerData document. filter: FilterType may be there. On success the caller frees with cs_hcs_layers_done. */
HRESULT cs_hcs_layers_parse(const char *data, bool filter, struct cs_hcs_layers *ret);
void cs_hcs_layers_done(struct cs_hcs_layers *l);
HRESULT cs_hcs_export_options(const char *options, bool *ret_writable);
HRESULT cs_hcs_write_chain(int dir_fd, const struct cs_hcs_layers *l); /* layerchain.json; nothing without parents */
HRESULT cs_hcs_result(struct cs_err *e); /* frees e */
HRESULT cs_hcs_errno(int sys);
