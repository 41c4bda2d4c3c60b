/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <stdio.h>

/* Pulls an image for run and create: name with tag or digest; platform "" = the engine's own. Progress goes to `out` unless quiet. 0, or the exit
 * status after a message. */
int transfer_pull(const char *image, const char *platform, bool quiet, FILE *out);
