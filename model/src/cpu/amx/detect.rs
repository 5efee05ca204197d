//! Whether this process may use AMX: the processor has it, the kernel saves
//! its registers, and Linux has granted them, which it does only when asked.

use std::sync::OnceLock;

/// Whether tiles of bf16 and int8 can be used, by any thread of the process.
/// The first call asks the kernel for them; a refusal is a no.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(detect)
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn detect() -> bool {
    linux::processor_has_amx() && linux::kernel_saves_tiles() && linux::kernel_grants_tiles()
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn detect() -> bool {
    false
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod linux {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    /// AMX-BF16, AMX-TILE and AMX-INT8 in leaf 7's EDX: every processor that
    /// has tiles so far has all three.
    const AMX: u32 = 1 << 22 | 1 << 24 | 1 << 25;

    /// The tiles' configuration and their data in XCR0.
    const TILE_STATE: u32 = 1 << 17 | 1 << 18;

    pub(super) fn processor_has_amx() -> bool {
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX == AMX
    }

    pub(super) fn kernel_saves_tiles() -> bool {
        const OSXSAVE: u32 = 1 << 27;
        if __cpuid(1).ecx & OSXSAVE == 0 {
            return false;
        }
        let xcr0: u32;
        // SAFETY: OSXSAVE says that the instruction exists and is allowed.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _,
                options(nomem, nostack, preserves_flags));
        }
        xcr0 & TILE_STATE == TILE_STATE
    }

    /// Since the tiles' 8 KiB would not fit the signal stacks of old programs,
    /// Linux (5.16 on) lets a process use them only on request, and refuses
    /// when a thread's alternative stack is too small. Rust's are not.
    pub(super) fn kernel_grants_tiles() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        const XFEATURE_XTILEDATA: usize = 18;
        let result: i64;
        // SAFETY: the call takes two numbers and touches no memory of ours;
        // `syscall` itself overwrites rcx and r11.
        unsafe {
            asm!("syscall", inlateout("rax") ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result == 0
    }
}
