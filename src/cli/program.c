/* SPDX-License-Identifier: Apache-2.0
 *
 * Alone in its file, so that tests can have all the others. */
#include "cli/cli.h"

int main(int argc, char **argv) { return cli_main(argv); }
