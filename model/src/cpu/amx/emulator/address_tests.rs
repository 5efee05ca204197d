//! Addresses of tiles in every form that the assembler makes, and every tile.
//! On a processor that has AMX they pass as well.

use std::arch::asm;

use super::tests::memory;
use crate::cpu::amx::Tiles;
use crate::cpu::amx::tests::ready;

fn store_0() -> [[u32; 16]; 16] {
    let mut words = [[0xDEAD_BEEF; 16]; 16];
    // SAFETY: the array is a tile; the caller configured the tiles.
    unsafe {
        asm!("tilestored [{} + {}*1], tmm0", in(reg) words.as_mut_ptr(), in(reg) 64_usize);
    }
    words
}

/// Code that loads tile 0 reads rows from `$offset`, `$stride` apart. It has
/// the memory's address in `{at}` and, for the index, `{step}`.
macro_rules! reads {
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
fn addresses_in_every_form() {
    ready();
    let memory = memory(1);
    // SAFETY: the test's only tiles.
    let tiles = unsafe { Tiles::configure() };
    let stride = 96_usize;
    reads!(
        memory,
        stride,
        1,
        0,
        "r8",
        ["tileloadd tmm0, [{at} + {step}*1]"]
    );
    reads!(
        memory,
        stride,
        1,
        0,
        "r8",
        ["tileloaddt1 tmm0, [{at} + {step}*1]"]
    );
    reads!(
        memory,
        stride,
        2,
        64,
        "r8",
        ["tileloadd tmm0, [{at} + {step}*2 + 64]"]
    );
    reads!(
        memory,
        stride,
        4,
        1024,
        "r8",
        ["tileloadd tmm0, [{at} + {step}*4 + 1024]"]
    );
    reads!(
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
    reads!(
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
    // No index: every row is the first.
    reads!(
        memory,
        0_usize,
        1,
        128,
        "r12",
        ["mov r12, {at}", "tileloadd tmm0, [r12 + 128]"]
    );
    // Bases that need a displacement or a SIB byte, and extended registers.
    reads!(
        memory,
        stride,
        1,
        0,
        "r13",
        ["mov r13, {at}", "tileloadd tmm0, [r13 + {step}*1]"]
    );
    reads!(
        memory,
        stride,
        1,
        0,
        "r12",
        ["mov r12, {step}", "tileloadd tmm0, [{at} + r12*1]"]
    );
    reads!(
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
    // RSP's code in ModRM means the SIB byte: the rows are pushed first.
    reads!(
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
fn every_tile_and_a_configuration_beside_the_code() {
    ready();
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
            // The same without a base.
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
