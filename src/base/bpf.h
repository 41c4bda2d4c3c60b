/* SPDX-License-Identifier: Apache-2.0
 *
 * bpf(2), and an assembler for the few short programs that we have: arrays of instructions, written with the macros below. Linux only. */
#pragma once

#include <linux/bpf.h>

#include "base/macros.h"

int sys_bpf(int cmd, union bpf_attr *attr); /* result or -errno; descriptors are close-on-exec */

/* name: at most 15 characters. license: what the program is offered under; many helpers want "GPL". attr: prog_type, and what else the type asks for.
 * Labels in code are resolved and taken out: it is changed. A descriptor or -errno. */
int cs_bpf_load(const char *name, const char *license, struct bpf_insn *code, size_t n, union bpf_attr *attr);

#define CS_BPF_LABELS 16
#define BI(code_, dst, src, off_, imm_) ((struct bpf_insn){.code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (int16_t)(off_), .imm = (int32_t)(imm_)})
#define BI_LABEL_CODE 0xff
#define BI_LABEL(n) BI(BI_LABEL_CODE, 0, 0, 0, n) /* 0 <= n < CS_BPF_LABELS; marks the next instruction */
#define BI_TO(n) (INT16_MAX - (n))                /* as the distance of a jump */
#define BI_MOV(dst, src) BI(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define BI_MOV32(dst, src) BI(BPF_ALU | BPF_MOV | BPF_X, dst, src, 0, 0)
#define BI_MOV_K(dst, k) BI(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, k)
#define BI_ALU_K(op, dst, k) BI(BPF_ALU64 | (op) | BPF_K, dst, 0, 0, k)
#define BI_ALU(op, dst, src) BI(BPF_ALU64 | (op) | BPF_X, dst, src, 0, 0)
#define BI_ADD_K(dst, k) BI_ALU_K(BPF_ADD, dst, k)
#define BI_LOAD(size, dst, src, off) BI(BPF_LDX | BPF_MEM | (size), dst, src, off, 0) /* size: BPF_W, BPF_DW ... */
#define BI_STORE(size, dst, off, src) BI(BPF_STX | BPF_MEM | (size), dst, src, off, 0)
#define BI_WIDE(dst, kind, value) BI(BPF_LD | BPF_DW | BPF_IMM, dst, kind, 0, (uint32_t)(value)), BI(0, 0, 0, 0, (uint32_t)((uint64_t)(value) >> 32))
#define BI_CALL(function) BI(BPF_JMP | BPF_CALL, 0, 0, 0, function)
#define BI_JUMP_K(op, dst, k, label) BI(BPF_JMP | (op) | BPF_K, dst, 0, BI_TO(label), k)
#define BI_JUMP32_K(op, dst, k, label) BI(BPF_JMP32 | (op) | BPF_K, dst, 0, BI_TO(label), k)
#define BI_JUMP(op, dst, src, label) BI(BPF_JMP | (op) | BPF_X, dst, src, BI_TO(label), 0)
#define BI_EXIT BI(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
