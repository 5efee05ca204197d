//! Tile loads and stores in all addressing modes that the assembler generates,
//! with all tile registers. They pass on CPUs with AMX as well.

use std::arch::asm;

use super::tests::memory;
use crate::cpu::amx::Tiles;
use crate::cpu::amx::tests::ensure_amx;

fn store_0() -> [[u32; 16]; 16] {
    let mut words = [[0xDEAD_BEEF; 16]; 16];
    // SAFETY: the array is a tile; the caller configured the tiles.
    unsafe {
        asm!("tilestored [{} + {}*1], tmm0", in(reg) words.as_mut_ptr(), in(reg) 64_usize);
    }
    words
}

/// Asserts that code which loads tile 0 reads rows at `$offset`, `$stride`
/// bytes apart. The code finds the memory's address in `{at}` and the index in
/// `{step}`.
macro_rules! assert_reads {
    ($memory:ident, $stride:expr, $scale:expr, $offset:expr, $clobber:tt, [$($code:literal),+]) => {{
        // SAFETY: the buffer holds 16 rows of any stride used here.
        unsafe {
            asm!("tilezero tmm0 /* {at} {step} */", $($code,)+
                at = in(reg) $memory.as_ptr(), step = in(reg) $stride / $scale,
                out($clobber) _);
        }
        let stored = store_0();
        for (i, row) in stored.iter().enumerate() {
            let start = ($offset + i as isize * $stride as isize) as usize / 4;
            assert_eq!(row, &$memory[start..start + 16], "row {i} of {:?}", [$($code),+]);
        }
    }};
}

#[test]
fn every_addressing_mode_is_decoded() {
    ensure_amx();
    let memory = memory(1);
    // SAFETY: the test's only tiles.
    let tiles = unsafe { Tiles::configure() };
    let stride = 96_usize;
    assert_reads!(
        memory,
        stride,
        1,
        0,
        "r8",
        ["tileloadd tmm0, [{at} + {step}*1]"]
    );
    assert_reads!(
        memory,
        stride,
        1,
        0,
        "r8",
        ["tileloaddt1 tmm0, [{at} + {step}*1]"]
    );
    assert_reads!(
        memory,
        stride,
        2,
        64,
        "r8",
        ["tileloadd tmm0, [{at} + {step}*2 + 64]"]
    );
    assert_reads!(
        memory,
        stride,
        4,
        1024,
        "r8",
        ["tileloadd tmm0, [{at} + {step}*4 + 1024]"]
    );
    assert_reads!(
        memory,
        stride,
        8,
        64,
        "r8",
        [
            "lea r8, [{at} + 128]",
            "tileloadd tmm0, [r8 + {step}*8 - 64]"
        ]
    );
    assert_reads!(
        memory,
        stride,
        1,
        32,
        "r8",
        [
            "lea r8, [{at} + 2080]",
            "tileloadd tmm0, [r8 + {step}*1 - 2048]"
        ]
    );
    // No index: every row is the first row.
    assert_reads!(
        memory,
        0_usize,
        1,
        128,
        "r12",
        ["mov r12, {at}", "tileloadd tmm0, [r12 + 128]"]
    );
    // Base registers that require a displacement or a SIB byte, and extended
    // registers.
    assert_reads!(
        memory,
        stride,
        1,
        0,
        "r13",
        ["mov r13, {at}", "tileloadd tmm0, [r13 + {step}*1]"]
    );
    assert_reads!(
        memory,
        stride,
        1,
        0,
        "r12",
        ["mov r12, {step}", "tileloadd tmm0, [{at} + r12*1]"]
    );
    assert_reads!(
        memory,
        stride,
        1,
        0,
        "r13",
        [
            "mov r13, rbp",
            "mov rbp, {at}",
            "tileloadd tmm0, [rbp + {step}*1]",
            "mov rbp, r13"
        ]
    );
    // The encoding of RSP in ModRM means a SIB byte. The rows are pushed on the
    // stack first.
    assert_reads!(
        memory,
        stride,
        1,
        64,
        "r8",
        [
            "lea r8, [{at} + 2048]",
            "2:",
            "sub r8, 8",
            "push [r8]",
            "cmp r8, {at}",
            "jne 2b",
            "tileloadd tmm0, [rsp + {step}*1 + 64]",
            "lea rsp, [rsp + 2048]"
        ]
    );
    drop(tiles);
}

#[test]
fn every_tile_register_and_a_rip_relative_configuration() {
    ensure_amx();
    let memory = memory(2);
    let mut stored = vec![[0_u32; 256]; 8];
    // SAFETY: eight tiles of the buffer's 16 KiB go to eight of the result's.
    unsafe {
        asm!(
            "jmp 3f",
            ".balign 64",
            "2: .byte 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0",
            ".short 64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0",
            ".byte 16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0",
            "3: ldtilecfg [rip + 2b]",
            "tileloadd tmm0, [{from} + {row}*1]",
            "tileloadd tmm1, [{from} + {row}*1 + 1024]",
            "tileloadd tmm2, [{from} + {row}*1 + 2048]",
            "tileloadd tmm3, [{from} + {row}*1 + 3072]",
            "tileloadd tmm4, [{from} + {row}*1 + 4096]",
            "tileloadd tmm5, [{from} + {row}*1 + 5120]",
            "tileloadd tmm6, [{from} + {row}*1 + 6144]",
            "tileloadd tmm7, [{from} + {row}*1 + 7168]",
            "tilestored [{to} + {row}*1], tmm0",
            "tilestored [{to} + {row}*1 + 1024], tmm1",
            "tilestored [{to} + {row}*1 + 2048], tmm2",
            "tilestored [{to} + {row}*1 + 3072], tmm3",
            "tilestored [{to} + {row}*1 + 4096], tmm4",
            "tilestored [{to} + {row}*1 + 5120], tmm5",
            "tilestored [{to} + {row}*1 + 6144], tmm6",
            "tilestored [{to} + {row}*1 + 7168], tmm7",
            // A configuration address without a base register.
            "lea r8, [rip + 2b]",
            "shr r8, 3",
            "ldtilecfg [r8*8]",
            "tilerelease",
            from = in(reg) memory.as_ptr(), to = in(reg) stored.as_mut_ptr(),
            row = in(reg) 64_usize, out("r8") _,
        );
    }
    assert_eq!(stored.concat(), &memory[..2048]);
}
