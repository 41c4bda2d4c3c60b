# SPDX-License-Identifier: Apache-2.0
# embed.py <symbol> <input> <output.c>: a file as a C array, so that the programs need it nowhere on disk.
import sys

symbol, source, target = sys.argv[1:]
data = open(source, 'rb').read()
with open(target, 'w') as out:
    out.write('#include <stddef.h>\nextern const unsigned char %s[];\nextern const size_t %s_len;\n' % (symbol, symbol))
    out.write('const unsigned char %s[] = {%s,0};\nconst size_t %s_len = %d;\n' % (symbol, ','.join(map(str, data)), symbol, len(data)))
