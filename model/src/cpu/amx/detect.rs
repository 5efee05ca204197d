//! Detects AMX. The CPU must have it, Linux must save its registers, and the process
//! must request the permission to use them.

use std::sync::OnceLock;

/// Whether any thread of this process can use AMX with bf16 and int8. The first
/// call requests the permission from the kernel. False if the kernel denies it.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(detect)
}

#[cfg(target_os = "linux")]
fn detect() -> bool {
    linux::cpu_has_amx() && linux::kernel_saves_tiles() && linux::kernel_grants_tiles()
}

#[cfg(not(target_os = "linux"))]
fn detect() -> bool {
    false
}

#[cfg(target_os = "linux")]
mod linux {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};

    /// AMX-BF16, AMX-TILE and AMX-INT8 in EDX of CPUID leaf 7. All CPUs with
    /// AMX so far have all three.
    const AMX: u32 = 1 << 22 | 1 << 24 | 1 << 25;

    /// The tile configuration and tile data bits of XCR0.
    const TILE_STATE: u32 = 1 << 17 | 1 << 18;

    pub(super) fn cpu_has_amx() -> bool {
        __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & AMX == AMX
    }

    pub(super) fn kernel_saves_tiles() -> bool {
        const OSXSAVE: u32 = 1 << 27;
        if __cpuid(1).ecx & OSXSAVE == 0 {
            return false;
        }
        let xcr0: u32;
        // SAFETY: OSXSAVE guarantees that the instruction exists and is
        // allowed.
        unsafe {
            asm!("xgetbv", in("ecx") 0, out("eax") xcr0, out("edx") _,
                options(nomem, nostack, preserves_flags));
        }
        xcr0 & TILE_STATE == TILE_STATE
    }

    /// Requests permission to use the tile data. The 8 KiB of tile data do not fit
    /// in the signal stacks of old programs. So Linux (since 5.16) requires a
    /// request, and denies it if the alternate signal stack of a thread is too
    /// small. Those of Rust are large enough.
    pub(super) fn kernel_grants_tiles() -> bool {
        const ARCH_PRCTL: i64 = 158;
        const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
        const XFEATURE_XTILEDATA: usize = 18;
        let result: i64;
        // SAFETY: the system call takes two integers and accesses no memory of
        // the process; `syscall` itself clobbers rcx and r11.
        unsafe {
            asm!("syscall", inlateout("rax") ARCH_PRCTL => result,
                in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result == 0
    }
}
