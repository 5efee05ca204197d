//! Takes apart an instruction with a three-byte VEX prefix of the map 0F38:
//! every form of address that the assembler makes without a segment or an
//! address-size prefix.

/// The prefix that VEX folds in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    P66,
    PF3,
    PF2,
}

/// What ModRM's `rm` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Register(usize),
    /// Base and displacement, and the scaled index, which is a tile's stride;
    /// `sib` when the address has the byte that could name one.
    Memory {
        at: usize,
        step: usize,
        sib: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction {
    pub(super) opcode: u8,
    pub(super) prefix: Prefix,
    /// 256 bits.
    pub(super) long: bool,
    pub(super) reg: usize,
    pub(super) vvvv: usize,
    pub(super) operand: Operand,
    /// Bytes, none of which is an immediate.
    pub(super) length: usize,
}

/// Reads code a byte at a time, so that none behind an instruction is touched.
struct Code(*const u8);

impl Code {
    /// # Safety
    /// The byte is part of the instruction.
    unsafe fn byte(&mut self) -> u8 {
        // SAFETY: the caller's.
        let byte = unsafe { self.0.read() };
        self.0 = self.0.wrapping_add(1);
        byte
    }

    /// A displacement of 0, 1 or 4 bytes, extended by its sign.
    ///
    /// # Safety
    /// The bytes are part of the instruction.
    unsafe fn displacement(&mut self, bytes: usize) -> usize {
        // SAFETY: the caller's.
        unsafe {
            match bytes {
                0 => 0,
                1 => self.byte() as i8 as usize,
                _ => i32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
                    as usize,
            }
        }
    }
}

/// # Safety
/// `rip` points to an instruction; `registers` are its general registers.
pub(super) unsafe fn decode(rip: *const u8, registers: &[usize; 16]) -> Option<Instruction> {
    let mut code = Code(rip);
    // SAFETY: each byte is asked for only when those before it demand it.
    unsafe {
        if code.byte() != 0xC4 {
            return None;
        }
        // Register bits are stored inverted.
        let (first, second) = (!code.byte(), code.byte());
        let (map, wide) = (!first & 0x1F, second & 0x80 != 0);
        if map != 2 || wide {
            return None;
        }
        let extend = |bit: u8| usize::from(first >> bit & 1) << 3;
        let (r, x, b) = (extend(7), extend(6), extend(5));
        let opcode = code.byte();
        let modrm = code.byte();
        let operand = operand(&mut code, modrm, x, b, registers);
        Some(Instruction {
            opcode,
            prefix: [Prefix::None, Prefix::P66, Prefix::PF3, Prefix::PF2][usize::from(second & 3)],
            long: second & 4 != 0,
            reg: usize::from(modrm >> 3 & 7) | r,
            vvvv: usize::from(!second >> 3 & 15),
            operand,
            length: code.0.addr() - rip.addr(),
        })
    }
}

/// # Safety
/// `code` is behind the ModRM byte of an instruction.
unsafe fn operand(
    code: &mut Code,
    modrm: u8,
    x: usize,
    b: usize,
    registers: &[usize; 16],
) -> Operand {
    let (mode, rm) = (modrm >> 6, usize::from(modrm & 7));
    if mode == 3 {
        return Operand::Register(rm | b);
    }
    let bytes = [0, 1, 4][usize::from(mode)];
    // SAFETY: ModRM says that these bytes follow.
    unsafe {
        if rm == 4 {
            let sib = code.byte();
            let (scale, index) = (sib >> 6, usize::from(sib >> 3 & 7) | x);
            // Number 4 without the extension is no index: RSP cannot be one.
            let step = if index == 4 {
                0
            } else {
                registers[index] << scale
            };
            let at = match (mode, usize::from(sib & 7)) {
                (0, 5) => code.displacement(4),
                (_, base) => registers[base | b].wrapping_add(code.displacement(bytes)),
            };
            return Operand::Memory {
                at,
                step,
                sib: true,
            };
        }
        let at = if mode == 0 && rm == 5 {
            // From the end of the instruction, which is the displacement's.
            let displacement = code.displacement(4);
            code.0.addr().wrapping_add(displacement)
        } else {
            registers[rm | b].wrapping_add(code.displacement(bytes))
        };
        Operand::Memory {
            at,
            step: 0,
            sib: false,
        }
    }
}
