//! AVX-VNNI's `vpdpbusd` on the vector registers of a signal's frame, which is
//! an `xsave` area in the standard format: the kernel loads what it is left.

use std::arch::x86_64::__cpuid_count;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::decode::Operand;
use super::tiles::dot;
use super::{Fault, tiles};

/// Where the legacy area holds the 16 lower halves, 16 bytes each.
const XMM: usize = 160;
/// Where the kernel says that more than the legacy area is there.
const MAGIC: usize = 464;
const MAGIC_VALUE: u32 = 0x4650_5853;
/// Which components are there; one that is not holds zeros.
const XSTATE_BV: usize = 512;
/// Where the upper halves lie, 16 bytes each.
const YMM: usize = 576;
/// The components: lower halves, upper halves, upper halves of `zmm`.
const SSE: u32 = 1;
const AVX: u32 = 2;
const ZMM_HIGH: u32 = 6;

/// Where the upper halves of `zmm0` to `zmm15` lie, 32 bytes each; processors
/// differ. 0 when there are none.
static ZMM: AtomicUsize = AtomicUsize::new(0);

/// Asks the processor before a signal has to know.
pub(super) fn prime() {
    tiles::prime();
    let leaf = __cpuid_count(0xD, ZMM_HIGH);
    ZMM.store(
        if leaf.eax == 0 { 0 } else { leaf.ebx as usize },
        Ordering::Relaxed,
    );
}

/// The state of the interrupted thread.
struct State(*mut u8);

impl State {
    fn has(&self, component: u32) -> bool {
        // SAFETY: the area has a header, its maker checked.
        let there = unsafe { self.0.add(XSTATE_BV).cast::<u64>().read_unaligned() };
        there >> component & 1 != 0
    }

    /// Half a register.
    fn half(&self, component: u32, place: usize, register: usize) -> [u32; 4] {
        if !self.has(component) {
            return [0; 4];
        }
        // SAFETY: a register's number is below 16.
        unsafe {
            self.0
                .add(place + 16 * register)
                .cast::<[u32; 4]>()
                .read_unaligned()
        }
    }

    fn register(&self, register: usize) -> [[u32; 4]; 2] {
        [self.half(SSE, XMM, register), self.half(AVX, YMM, register)]
    }

    /// Writes a register, whose bits above are zero then. A half that was not
    /// there is zero still: nothing times zeros was added to zeros.
    fn set_register(&mut self, register: usize, value: [[u32; 4]; 2]) {
        for (half, component, place) in [(value[0], SSE, XMM), (value[1], AVX, YMM)] {
            if self.has(component) {
                let to = self.0.wrapping_add(place + 16 * register);
                // SAFETY: as in `half`.
                unsafe { to.cast::<[u32; 4]>().write_unaligned(half) };
            }
        }
        let zmm = ZMM.load(Ordering::Relaxed);
        if zmm != 0 && self.has(ZMM_HIGH) {
            // SAFETY: the component is there, at the place the processor named.
            unsafe { self.0.add(zmm + 32 * register).write_bytes(0, 32) };
        }
    }
}

/// `reg += vvvv (unsigned bytes) * operand (signed bytes)`, four to a word, of
/// 128 or 256 bits; the sums wrap.
///
/// # Safety
/// `state` is the frame's; the operand is the interrupted code's to read.
pub(super) unsafe fn vpdpbusd(
    state: *mut u8,
    reg: usize,
    vvvv: usize,
    operand: Operand,
    long: bool,
) -> Result<(), Fault> {
    // SAFETY: the legacy area is always there, and this field of it the kernel's.
    if unsafe { state.add(MAGIC).cast::<u32>().read_unaligned() } != MAGIC_VALUE {
        return Err("vpdpbusd: a frame without vector registers");
    }
    let mut state = State(state);
    let (mut sums, x) = (state.register(reg), state.register(vvvv));
    let mut y = [[0; 4]; 2];
    match operand {
        Operand::Register(register) => y = state.register(register),
        Operand::Memory { at, step, .. } => {
            let from = at.wrapping_add(step) as *const [u32; 4];
            // SAFETY: the caller's; of 128 bits only the first half is read.
            unsafe {
                y[0] = from.read_unaligned();
                if long {
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
    if !long {
        sums[1] = [0; 4];
    }
    state.set_register(reg, sums);
    Ok(())
}
