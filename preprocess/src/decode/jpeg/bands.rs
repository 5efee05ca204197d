//! Decodes the AC coefficients of progressive scans (ITU-T T.81, G.1.2.2 and
//! G.1.2.3). Which coefficients are nonzero is kept as bits, so that runs of zeros
//! and correction bits are handled without a loop over the coefficients.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::_pdep_u64;

use crate::decode::jpeg::bits::{BitReader, InvalidCode};
use crate::decode::jpeg::coefficients::{BlockRun, Slots};
use crate::decode::jpeg::huffman::{END_OF_BLOCK, HuffmanTable, LookupEntry};
use crate::support::simd::{Simd, SimdTarget, kernel};

/// The coefficients of a scan.
#[derive(Clone, Copy)]
pub(crate) struct Band {
    /// The first coefficient in zigzag order (Ss), at least 1.
    pub start: usize,
    /// The last coefficient (Se).
    pub end: usize,
    /// The position of the bits (Al).
    pub shift: u8,
}

impl Band {
    /// The bits of the coefficients from `k`.
    #[inline(always)]
    fn bits_from(self, k: usize) -> u64 {
        (u64::MAX >> k) & (u64::MAX << (63 - self.end))
    }
}

/// The number of blocks, with the current one, that an end-of-block symbol ends.
#[inline(always)]
fn end_of_blocks(entry: &LookupEntry, window: u64) -> u32 {
    (1 << (entry.run - END_OF_BLOCK)) + entry.raw_value(window)
}

kernel! {
    /// Decodes the first bits of coefficients until the end of the run or of the
    /// data. `ended` is the number of blocks that an end-of-block symbol has ended.
    pub(crate) fn decode_first = decode_first_blocks(
        reader: &mut BitReader<'_>,
        table: &HuffmanTable<'_>,
        band: Band,
        ended: &mut u32,
        run: &mut BlockRun<'_>,
    ) -> Result<(), InvalidCode>
}

#[inline(always)]
fn decode_first_blocks(
    reader: &mut BitReader<'_>,
    table: &HuffmanTable<'_>,
    band: Band,
    ended: &mut u32,
    run: &mut BlockRun<'_>,
) -> Result<(), InvalidCode> {
    let mut i = 0;
    while i < run.nonzero.len() {
        if *ended > 0 {
            let skipped = (*ended as usize).min(run.nonzero.len() - i);
            *ended -= skipped as u32;
            i += skipped;
            continue;
        }
        let mut nonzero = run.nonzero[i];
        let slots = run.slots;
        let block = run.block(i);
        let mut k = band.start;
        let mut needs_refill = true;
        while k <= band.end {
            if needs_refill {
                reader.refill();
            }
            needs_refill = !needs_refill;
            let (entry, window) = table.next(reader, band.end + 1 - k)?;
            if entry.first > 0 {
                let value = i16::from(entry.first_value) << band.shift;
                store(
                    block,
                    slots,
                    k + usize::from(entry.first_run),
                    value,
                    &mut nonzero,
                );
                k += usize::from(entry.first);
            }
            if entry.run >= END_OF_BLOCK {
                *ended = end_of_blocks(&entry, window) - 1;
                break;
            }
            k += usize::from(entry.run);
            let value = entry.value(window) << band.shift;
            if value != 0 {
                store(block, slots, k, value, &mut nonzero);
            }
            k += 1;
        }
        run.nonzero[i] = nonzero;
        i += 1;
        if reader.is_past_end() {
            break;
        }
    }
    Ok(())
}

/// Stores a coefficient. As in libjpeg, those beyond the last position go there;
/// only damaged data has them.
#[inline(always)]
fn store(block: &mut [i16], slots: &Slots, k: usize, value: i16, nonzero: &mut u64) {
    let k = k.min(63);
    *nonzero |= u64::from(value != 0) << (63 - k);
    if let Some(to) = block.get_mut(slots.position(k)) {
        *to = value;
    }
}

/// Decodes the next bit of coefficients, like [`decode_first`].
pub(crate) fn decode_refinement(
    simd: Simd,
    reader: &mut BitReader,
    table: &HuffmanTable,
    band: Band,
    ended: &mut u32,
    run: &mut BlockRun,
) -> Result<(), InvalidCode> {
    match simd.target() {
        SimdTarget::Portable => refine::<PortableDeposit>(reader, table, band, ended, run),
        // SAFETY: a `Simd` exists only for an instruction set that this CPU supports.
        #[cfg(target_arch = "x86_64")]
        SimdTarget::Avx2 => unsafe { refine_bmi2(reader, table, band, ended, run) },
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi2,popcnt,lzcnt")]
fn refine_bmi2(
    reader: &mut BitReader,
    table: &HuffmanTable,
    band: Band,
    ended: &mut u32,
    run: &mut BlockRun,
) -> Result<(), InvalidCode> {
    refine::<Bmi2Deposit>(reader, table, band, ended, run)
}

#[inline(always)]
fn refine<D: Deposit>(
    reader: &mut BitReader,
    table: &HuffmanTable,
    band: Band,
    ended: &mut u32,
    run: &mut BlockRun,
) -> Result<(), InvalidCode> {
    for i in 0..run.nonzero.len() {
        let old = run.nonzero[i] & band.bits_from(band.start);
        if *ended > 0 && old == 0 {
            *ended -= 1;
            continue;
        }
        let mut new = 0;
        let slots = run.slots;
        let block = run.block(i);
        let mut k = band.start;
        reader.refill();
        while *ended == 0 && k <= band.end {
            let (entry, window) = table.next(reader, 1)?;
            if entry.run >= END_OF_BLOCK {
                *ended = end_of_blocks(&entry, window);
                break;
            }
            // The symbol skips coefficients that are zero so far. The nonzero
            // ones in between have a correction bit each.
            let from = band.bits_from(k);
            let (target, before) = match nth::<D>(!old & from, entry.run.into()) {
                Some(bit) => (bit.leading_zeros() as usize, !(bit - 1)),
                None => (band.end + 1, u64::MAX),
            };
            correct::<D>(reader, old & from & before, band.shift, slots, block);
            reader.refill();
            let value = entry.value(window) << band.shift;
            if value != 0 {
                store(block, slots, target, value, &mut new);
            }
            k = target + 1;
        }
        if *ended > 0 {
            *ended -= 1;
            // An end-of-block symbol is never read beyond the band.
            let rest = old & band.bits_from(k.min(63));
            correct::<D>(reader, rest, band.shift, slots, block);
        }
        run.nonzero[i] |= new;
        if reader.is_past_end() {
            break;
        }
    }
    Ok(())
}

/// The set bit that has `n` more significant ones.
#[inline(always)]
fn nth<D: Deposit>(bits: u64, n: u32) -> Option<u64> {
    let after = bits.count_ones().checked_sub(n + 1)?;
    Some(D::deposit(1 << after, bits))
}

/// Reads a correction bit for each coefficient in `nonzero`. 31 bits can be read
/// without a `refill`.
#[inline(always)]
fn correct<D: Deposit>(
    reader: &mut BitReader,
    nonzero: u64,
    shift: u8,
    slots: &Slots,
    block: &mut [i16],
) {
    let count = nonzero.count_ones();
    if count > 31 {
        for half in [u64::MAX << 32, u64::MAX >> 32] {
            reader.refill();
            correct_part::<D>(reader, nonzero & half, shift, slots, block);
        }
    } else if count > 0 {
        correct_part::<D>(reader, nonzero, shift, slots, block);
    }
}

#[inline(always)]
fn correct_part<D: Deposit>(
    reader: &mut BitReader,
    nonzero: u64,
    shift: u8,
    slots: &Slots,
    block: &mut [i16],
) {
    let count = nonzero.count_ones();
    let bits = reader.window().checked_shr(64 - count).unwrap_or(0);
    reader.consume(count as u8);
    if block.is_empty() {
        return;
    }
    let mut corrected = D::deposit(bits, nonzero) & slots.kept;
    while corrected != 0 {
        let k = corrected.leading_zeros() as usize;
        corrected ^= 1 << (63 - k);
        if let Some(value) = block.get_mut(slots.position(k)) {
            let bit = 1 << shift;
            if *value & bit == 0 {
                *value = value.wrapping_add(if *value < 0 { -bit } else { bit });
            }
        }
    }
}

/// Moves the low bits of a number to the set bits of a mask (PDEP of x86).
trait Deposit {
    fn deposit(bits: u64, mask: u64) -> u64;
}

struct PortableDeposit;

impl Deposit for PortableDeposit {
    #[inline(always)]
    fn deposit(mut bits: u64, mut mask: u64) -> u64 {
        let mut deposited = 0;
        while mask != 0 && bits != 0 {
            let lowest = mask & mask.wrapping_neg();
            deposited |= lowest & (bits & 1).wrapping_neg();
            mask ^= lowest;
            bits >>= 1;
        }
        deposited
    }
}

/// Used only where the CPU supports BMI2.
#[cfg(target_arch = "x86_64")]
struct Bmi2Deposit;

#[cfg(target_arch = "x86_64")]
impl Deposit for Bmi2Deposit {
    #[inline(always)]
    fn deposit(bits: u64, mask: u64) -> u64 {
        // SAFETY: only `refine_bmi2` uses this type, and its caller guarantees BMI2.
        unsafe { _pdep_u64(bits, mask) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deposited_bits_are_those_of_the_instruction() {
        assert_eq!(PortableDeposit::deposit(0b101, 0b1101_0000), 0b1001_0000);
        assert_eq!(
            nth::<PortableDeposit>(1 << 63 | 1 << 60 | 1, 1),
            Some(1 << 60)
        );
        assert_eq!(nth::<PortableDeposit>(1 << 63 | 1 << 60 | 1, 3), None);
    }

    #[test]
    fn a_band_has_the_bits_of_its_coefficients() {
        let band = Band {
            start: 1,
            end: 5,
            shift: 0,
        };
        assert_eq!(band.bits_from(1), 0b01_1111 << 58);
        assert_eq!(band.bits_from(5), 0b00_0001 << 58);
    }
}
