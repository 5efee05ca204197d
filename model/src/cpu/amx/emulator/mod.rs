//! Emulation, for tests, of instructions that the CPU lacks. A SIGILL handler
//! decodes them, executes them and resumes after them. It supports AMX
//! (`tiles`) and the VEX-encoded `vpdpbusd` of AVX-VNNI (`vnni`).
//!
//! The handler allocates nothing, takes no lock and uses nothing outside this
//! folder, so that an integration test can include it by path.

#[cfg(test)]
mod address_tests;
mod decode;
#[cfg(test)]
mod tests;
mod tiles;
mod vnni;

use std::cell::UnsafeCell;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Once, OnceLock};

use decode::{IllegalInstruction, Instruction, Operand, Prefix};
use tiles::Tiles;

thread_local! {
    /// The thread's tile registers. The initialiser is constant and there is no
    /// destructor, so the handler's access is a plain load.
    static TILES: UnsafeCell<Tiles> = const { UnsafeCell::new(Tiles::NEW) };
}

/// The previous SIGILL handler.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// Installs the handler for all threads. Instructions that the CPU supports
/// never reach it.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tiles::detect_features();
        vnni::detect_features();
        // SAFETY: both structures are valid; the handler may interrupt any
        // instruction, as the module's documentation states.
        unsafe {
            let mut previous = MaybeUninit::uninit();
            assert_eq!(
                libc::sigaction(libc::SIGILL, ptr::null(), previous.as_mut_ptr()),
                0
            );
            PREVIOUS.get_or_init(|| previous.assume_init());
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = handle_sigill as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(
                libc::sigaction(libc::SIGILL, &raw const action, ptr::null_mut()),
                0
            );
        }
    });
}

/// The SIGILL handler. The kernel restores `context` when it returns.
extern "C" fn handle_sigill(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes this thread's context, which is valid until the
    // handler returns.
    let outcome = unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        execute_all(machine)
    };
    match outcome {
        Ok(0) => {}
        Ok(_) => return,
        Err(reason) => {
            for part in ["emulated instruction: ", reason, "\n"] {
                // SAFETY: the bytes are those of a string; `write` is
                // async-signal-safe.
                unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
            }
        }
    }
    // SAFETY: the arguments are the kernel's.
    unsafe { call_previous(signal, info, context) };
}

/// Executes instructions from RIP on until one is not emulated, and returns
/// their number. Emulated instructions often follow each other, and a signal
/// costs far more than emulating one of them.
///
/// # Safety
/// `machine` is the interrupted thread's.
unsafe fn execute_all(machine: &mut libc::mcontext_t) -> Result<usize, IllegalInstruction> {
    let registers = general_registers(machine);
    let mut executed = 0;
    loop {
        let rip = &mut machine.gregs[libc::REG_RIP as usize];
        // SAFETY: the CPU has fetched the first instruction, and each executed
        // one is followed by another; the state is that of the signal frame.
        unsafe {
            let Some(instruction) = decode::decode(*rip as *const u8, &registers) else {
                return Ok(executed);
            };
            let Some(outcome) = execute(&instruction, machine.fpregs.cast()) else {
                return Ok(executed);
            };
            outcome?;
            *rip += instruction.length as i64;
        }
        executed += 1;
    }
}

/// The general-purpose registers, indexed by their encoding.
fn general_registers(machine: &libc::mcontext_t) -> [usize; 16] {
    use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    use libc::{REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP};
    [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
        REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ]
    .map(|register| machine.gregs[register as usize] as usize)
}

/// Executes the instruction; `None` if it is not an emulated one.
///
/// # Safety
/// The interrupted code may access the instruction's addresses. `state` is the
/// frame's floating-point state in the standard `xsave` format.
unsafe fn execute(
    instruction: &Instruction,
    state: *mut u8,
) -> Option<Result<(), IllegalInstruction>> {
    use Operand::{Memory, Register};
    use Prefix::{None as Plain, P66, PF2, PF3};

    let &Instruction {
        opcode,
        prefix,
        is_256,
        reg,
        vvvv,
        operand,
        ..
    } = instruction;
    if opcode == 0x50 && prefix == P66 {
        // SAFETY: guaranteed by the caller.
        return Some(unsafe { vnni::vpdpbusd(state, reg, vvvv, operand, is_256) });
    }
    if is_256 {
        return None;
    }
    // SAFETY: only this function accesses the thread's tiles, and it executes
    // no illegal instruction itself.
    let tiles = TILES.with(|tiles| unsafe { &mut *tiles.get() });
    // SAFETY: the caller guarantees that the memory is accessible.
    let outcome = unsafe {
        match (opcode, prefix, operand) {
            (0x49, Plain, Memory { at, step, .. }) if reg == 0 => tiles.configure(at + step),
            (0x49, Plain, Register(0)) if reg == 0 => {
                tiles.release();
                Ok(())
            }
            (0x49, PF2, Register(0)) => tiles.zero(reg),
            (
                0x4B,
                PF2 | P66,
                Memory {
                    at,
                    step,
                    sib: true,
                },
            ) => tiles.load(reg, at, step),
            (
                0x4B,
                PF3,
                Memory {
                    at,
                    step,
                    sib: true,
                },
            ) => tiles.store(reg, at, step),
            (0x5C, PF3, Register(rm)) => return Some(tiles.multiply_bf16(reg, rm, vvvv)),
            (0x5E, P66, Register(rm)) => return Some(tiles.multiply_int8(reg, rm, vvvv)),
            _ => return None,
        }
    };
    Some(if vvvv == 0 {
        outcome
    } else {
        Err("the unused operand vvvv names a register")
    })
}

/// Calls the previous handler. Without one, restores the default action, which
/// ends the process when the instruction runs again.
///
/// # Safety
/// The arguments are those of the running handler.
unsafe fn call_previous(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Simple = extern "C" fn(c_int);
    type WithInfo = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

    let previous = PREVIOUS.get().filter(|previous| {
        previous.sa_sigaction != libc::SIG_DFL && previous.sa_sigaction != libc::SIG_IGN
    });
    // SAFETY: a handler that was registered with these flags has this type.
    unsafe {
        match previous {
            Some(previous) if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                std::mem::transmute::<usize, WithInfo>(previous.sa_sigaction)(signal, info, context)
            }
            Some(previous) => {
                std::mem::transmute::<usize, Simple>(previous.sa_sigaction)(signal);
            }
            None => {
                let mut default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}
