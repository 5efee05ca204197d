//! AVX-VNNI's `vpdpbusd`, on the vector registers in the signal frame. The
//! frame has an `xsave` area in the standard format, from which the kernel
//! restores the registers.

use std::arch::x86_64::__cpuid_count;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::decode::{IllegalInstruction, Operand};
use super::tiles;
use super::tiles::dot;

/// Offset of the lower halves of the 16 registers, 16 bytes each.
const XMM: usize = 160;
/// Offset of the magic number that marks a frame with more than the legacy
/// area.
const MAGIC_OFFSET: usize = 464;
const MAGIC_VALUE: u32 = 0x4650_5853;
/// Offset of the bitmap of saved components; a component that is not saved is
/// zero.
const XSTATE_BV: usize = 512;
/// Offset of the upper halves, 16 bytes each.
const YMM: usize = 576;
/// Component numbers in the bitmap: lower halves, upper halves, upper halves of
/// `zmm`.
const SSE: u32 = 1;
const AVX: u32 = 2;
const ZMM_HIGH: u32 = 6;

/// Offset of the upper halves of `zmm0` to `zmm15`, 32 bytes each, which
/// depends on the CPU; 0 if it has none.
static ZMM: AtomicUsize = AtomicUsize::new(0);

/// Detects CPU features in advance, because the signal handler must not do it.
pub(super) fn detect_features() {
    tiles::detect_features();
    let leaf = __cpuid_count(0xD, ZMM_HIGH);
    ZMM.store(
        if leaf.eax == 0 { 0 } else { leaf.ebx as usize },
        Ordering::Relaxed,
    );
}

/// The saved register state of the interrupted thread.
struct SavedState(*mut u8);

impl SavedState {
    fn has(&self, component: u32) -> bool {
        // SAFETY: the creator of this value checked that the area has a header.
        let components = unsafe { self.0.add(XSTATE_BV).cast::<u64>().read_unaligned() };
        components >> component & 1 != 0
    }

    /// One half of a register.
    fn half(&self, component: u32, offset: usize, register: usize) -> [u32; 4] {
        if !self.has(component) {
            return [0; 4];
        }
        // SAFETY: register numbers are below 16.
        unsafe {
            self.0
                .add(offset + 16 * register)
                .cast::<[u32; 4]>()
                .read_unaligned()
        }
    }

    fn register(&self, register: usize) -> [[u32; 4]; 2] {
        [self.half(SSE, XMM, register), self.half(AVX, YMM, register)]
    }

    /// Writes a register and zeroes its upper bits. Halves in components that
    /// are not saved need no write: they were zero, and the result is zero too.
    fn set_register(&mut self, register: usize, value: [[u32; 4]; 2]) {
        for (half, component, offset) in [(value[0], SSE, XMM), (value[1], AVX, YMM)] {
            if self.has(component) {
                let to = self.0.wrapping_add(offset + 16 * register);
                // SAFETY: as in `half`.
                unsafe { to.cast::<[u32; 4]>().write_unaligned(half) };
            }
        }
        let zmm = ZMM.load(Ordering::Relaxed);
        if zmm != 0 && self.has(ZMM_HIGH) {
            // SAFETY: the component is saved, at the offset that the CPU
            // reported.
            unsafe { self.0.add(zmm + 32 * register).write_bytes(0, 32) };
        }
    }
}

/// `reg += vvvv (unsigned bytes) * operand (signed bytes)`, four products per
/// word, in 128 or 256 bits; the sums wrap.
///
/// # Safety
/// `state` is that of the signal frame; the interrupted code may read the
/// operand.
pub(super) unsafe fn vpdpbusd(
    state: *mut u8,
    reg: usize,
    vvvv: usize,
    operand: Operand,
    is_256: bool,
) -> Result<(), IllegalInstruction> {
    // SAFETY: the legacy area always exists, and the kernel sets this field.
    if unsafe { state.add(MAGIC_OFFSET).cast::<u32>().read_unaligned() } != MAGIC_VALUE {
        return Err("vpdpbusd: the signal frame has no vector registers");
    }
    let mut state = SavedState(state);
    let (mut sums, x) = (state.register(reg), state.register(vvvv));
    let mut y = [[0; 4]; 2];
    match operand {
        Operand::Register(register) => y = state.register(register),
        Operand::Memory { at, step, .. } => {
            let from = at.wrapping_add(step) as *const [u32; 4];
            // SAFETY: the caller guarantees that the operand is readable. A
            // 128-bit operand has only the first of the two reads.
            unsafe {
                y[0] = from.read_unaligned();
                if is_256 {
                    y[1] = from.add(1).read_unaligned();
                }
            }
        }
    }
    for half in 0..2 {
        for word in 0..4 {
            let sum = dot(x[half][word], y[half][word]) as u32;
            sums[half][word] = sums[half][word].wrapping_add(sum);
        }
    }
    if !is_256 {
        sums[1] = [0; 4];
    }
    state.set_register(reg, sums);
    Ok(())
}
