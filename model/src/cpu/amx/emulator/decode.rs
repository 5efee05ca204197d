//! Decoding of instructions with a three-byte VEX prefix in opcode map 0F38,
//! for all addressing modes that the assembler generates without segment or
//! address-size prefixes.

/// Why the CPU would raise #UD for an instruction.
pub(super) type IllegalInstruction = &'static str;

/// The legacy prefix that VEX encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefix {
    None,
    P66,
    PF3,
    PF2,
}

/// The operand encoded by ModRM.rm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Register(usize),
    /// `at` is base plus displacement, `step` the scaled index (a tile's
    /// stride). `sib` is true if the address has a SIB byte.
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
    /// Whether the vector length is 256 bits rather than 128.
    pub(super) is_256: bool,
    pub(super) reg: usize,
    pub(super) vvvv: usize,
    pub(super) operand: Operand,
    /// Length in bytes; there is no immediate.
    pub(super) length: usize,
}

/// Reads code byte by byte, so that nothing after an instruction is accessed.
struct Code(*const u8);

impl Code {
    /// # Safety
    /// The byte is part of the instruction.
    unsafe fn byte(&mut self) -> u8 {
        // SAFETY: guaranteed by the caller.
        let byte = unsafe { self.0.read() };
        self.0 = self.0.wrapping_add(1);
        byte
    }

    /// A sign-extended displacement of 0, 1 or 4 bytes.
    ///
    /// # Safety
    /// The bytes are part of the instruction.
    unsafe fn displacement(&mut self, bytes: usize) -> usize {
        // SAFETY: guaranteed by the caller.
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

/// Decodes the instruction at `rip`; `None` if it has another encoding.
///
/// # Safety
/// `rip` points to an instruction. `registers` are the thread's general-purpose
/// registers.
pub(super) unsafe fn decode(rip: *const u8, registers: &[usize; 16]) -> Option<Instruction> {
    let mut code = Code(rip);
    // SAFETY: each byte is read only if the previous ones require it.
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
            is_256: second & 4 != 0,
            reg: usize::from(modrm >> 3 & 7) | r,
            vvvv: usize::from(!second >> 3 & 15),
            operand,
            length: code.0.addr() - rip.addr(),
        })
    }
}

/// Decodes the operand after a ModRM byte.
///
/// # Safety
/// `code` is positioned after the ModRM byte of an instruction.
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
    // SAFETY: ModRM determines that these bytes follow.
    unsafe {
        if rm == 4 {
            let sib = code.byte();
            let (scale, index) = (sib >> 6, usize::from(sib >> 3 & 7) | x);
            // Index 4 without the extension bit means no index, since RSP
            // cannot be one.
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
            // RIP-relative: counted from the end of the instruction, which is
            // the end of the displacement.
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
