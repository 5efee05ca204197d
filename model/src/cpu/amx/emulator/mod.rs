//! Runs, in tests, instructions that this processor lacks: a handler of SIGILL
//! decodes them, does their work and goes on behind them. What it knows: AMX's
//! tiles (`tiles`) and AVX-VNNI's VEX-coded `vpdpbusd` (`vnni`).
//!
//! The handler allocates nothing, takes no lock and names nothing outside this
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

use decode::{Instruction, Operand, Prefix};
use tiles::Tiles;

/// Why an instruction would fault on a processor that has it.
type Fault = &'static str;

thread_local! {
    /// The thread's tiles. Constant and without a destructor, so that the
    /// handler's access is a plain load.
    static TILES: UnsafeCell<Tiles> = const { UnsafeCell::new(Tiles::NEW) };
}

/// Who handled SIGILL before.
static PREVIOUS: OnceLock<libc::sigaction> = OnceLock::new();

/// From now on, illegal instructions that the emulator knows are executed, in
/// every thread. Those that the processor has never come here.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        tiles::prime();
        vnni::prime();
        // SAFETY: both structures are valid; the handler is safe to run at
        // any instruction, which its module's comment promises.
        unsafe {
            let mut previous = MaybeUninit::uninit();
            assert_eq!(
                libc::sigaction(libc::SIGILL, ptr::null(), previous.as_mut_ptr()),
                0
            );
            PREVIOUS.get_or_init(|| previous.assume_init());
            let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
            action.sa_sigaction = on_illegal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            assert_eq!(
                libc::sigaction(libc::SIGILL, &raw const action, ptr::null_mut()),
                0
            );
        }
    });
}

/// SIGILL's handler. `context` is what the kernel restores when it returns.
extern "C" fn on_illegal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a context of this thread, ours until we return.
    let outcome = unsafe {
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        execute_all(machine)
    };
    match outcome {
        Ok(0) => {}
        Ok(_) => return,
        Err(fault) => {
            for part in ["emulated instruction: ", fault, "\n"] {
                // SAFETY: the bytes are a string's; `write` may be called here.
                unsafe { libc::write(2, part.as_ptr().cast(), part.len()) };
            }
        }
    }
    // SAFETY: the arguments are the kernel's.
    unsafe { pass_on(signal, info, context) };
}

/// Executes the emulator's instructions from RIP up to the first that is not
/// one, and says how many: a signal costs far more than an instruction, and
/// they come in rows.
///
/// # Safety
/// `machine` is the interrupted thread's.
unsafe fn execute_all(machine: &mut libc::mcontext_t) -> Result<usize, Fault> {
    let registers = general(machine);
    let mut executed = 0;
    loop {
        let rip = &mut machine.gregs[libc::REG_RIP as usize];
        // SAFETY: the first instruction was fetched, and behind each that was
        // executed lies another; the state is the frame's.
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

/// The general registers by their number in instructions.
fn general(machine: &libc::mcontext_t) -> [usize; 16] {
    use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    use libc::{REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RSI, REG_RSP};
    [
        REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
        REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
    ]
    .map(|place| machine.gregs[place as usize] as usize)
}

/// Does the instruction's work; `None` when it is not one of the emulator's.
///
/// # Safety
/// Its addresses are the interrupted code's to use; `state` is the frame's
/// floating-point state, in the standard format of `xsave`.
unsafe fn execute(instruction: &Instruction, state: *mut u8) -> Option<Result<(), Fault>> {
    use Operand::{Memory, Register};
    use Prefix::{None as Plain, P66, PF2, PF3};

    let &Instruction {
        opcode,
        prefix,
        long,
        reg,
        vvvv,
        operand,
        ..
    } = instruction;
    if opcode == 0x50 && prefix == P66 {
        // SAFETY: the caller's contract.
        return Some(unsafe { vnni::vpdpbusd(state, reg, vvvv, operand, long) });
    }
    if long {
        return None;
    }
    // SAFETY: only this function refers to the thread's tiles, and nothing it
    // does is an illegal instruction.
    let tiles = TILES.with(|tiles| unsafe { &mut *tiles.get() });
    // SAFETY: the caller's contract covers the memory.
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
        Err("vvvv names a register")
    })
}

/// Leaves the signal to whoever had it before; by default it ends the process
/// once the instruction runs again.
///
/// # Safety
/// The arguments are those of the running handler.
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    type Plain = extern "C" fn(c_int);
    type Informed = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

    let previous = PREVIOUS.get().filter(|previous| {
        previous.sa_sigaction != libc::SIG_DFL && previous.sa_sigaction != libc::SIG_IGN
    });
    // SAFETY: a handler that the kernel knew with these flags has this type.
    unsafe {
        match previous {
            Some(previous) if previous.sa_flags & libc::SA_SIGINFO != 0 => {
                std::mem::transmute::<usize, Informed>(previous.sa_sigaction)(signal, info, context)
            }
            Some(previous) => {
                std::mem::transmute::<usize, Plain>(previous.sa_sigaction)(signal);
            }
            None => {
                let mut default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, ptr::null_mut());
            }
        }
    }
}
