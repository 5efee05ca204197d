//! The tile registers of a thread and the AMX instructions, as defined in
//! Intel's manual (volume 2, "TDPBF16PS" and related entries).

use super::decode::IllegalInstruction;

/// A row of 16 words.
type Row = [u32; 16];
type Tile = [Row; 16];

#[derive(Clone, Copy, Default)]
struct Shape {
    rows: usize,
    row_bytes: usize,
}

/// The tile registers. Tiles without rows are not configured.
pub(super) struct Tiles {
    shapes: [Shape; 8],
    tiles: [Tile; 8],
}

/// Detects CPU features in advance, because the signal handler must not do it.
pub(super) fn detect_features() {
    has_fma();
}

fn has_fma() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
}

impl Tiles {
    pub(super) const NEW: Self = Self {
        shapes: [Shape {
            rows: 0,
            row_bytes: 0,
        }; 8],
        tiles: [[[0; 16]; 16]; 8],
    };

    pub(super) fn release(&mut self) {
        *self = Self::NEW;
    }

    /// `ldtilecfg`: palette 0 resets the state, palette 1 configures eight
    /// tiles and zeroes them.
    ///
    /// # Safety
    /// 64 bytes at `from` are readable, or the access faults as it would on
    /// hardware.
    pub(super) unsafe fn configure(&mut self, from: usize) -> Result<(), IllegalInstruction> {
        // SAFETY: guaranteed by the caller.
        let config: [u8; 64] = unsafe { (from as *const [u8; 64]).read_unaligned() };
        self.release();
        if config[0] == 0 {
            return Ok(());
        }
        if config[0] != 1 || config[1] != 0 {
            return Err("ldtilecfg: the palette is not 1, or start_row is not 0");
        }
        let unused = [2..16, 32..48, 56..64];
        if unused
            .into_iter()
            .any(|range| config[range].iter().any(|&byte| byte != 0))
        {
            return Err("ldtilecfg: reserved bytes are not zero");
        }
        for (t, shape) in self.shapes.iter_mut().enumerate() {
            let row_bytes = u16::from_le_bytes([config[16 + 2 * t], config[17 + 2 * t]]);
            *shape = Shape {
                rows: config[48 + t].into(),
                row_bytes: row_bytes.into(),
            };
            if shape.rows > 16
                || shape.row_bytes > 64
                || (shape.rows == 0) != (shape.row_bytes == 0)
            {
                self.shapes = Self::NEW.shapes;
                return Err("ldtilecfg: a tile exceeds 16 rows of 64 bytes");
            }
        }
        Ok(())
    }

    /// The tile's shape.
    fn shape(&self, t: usize) -> Result<Shape, IllegalInstruction> {
        match self.shapes.get(t) {
            Some(shape) if shape.rows != 0 => Ok(*shape),
            _ => Err("the tile is not configured"),
        }
    }

    pub(super) fn zero(&mut self, t: usize) -> Result<(), IllegalInstruction> {
        self.shape(t)?;
        self.tiles[t] = [[0; 16]; 16];
        Ok(())
    }

    /// # Safety
    /// The rows are readable, or the access faults as it would on hardware.
    pub(super) unsafe fn load(
        &mut self,
        t: usize,
        at: usize,
        step: usize,
    ) -> Result<(), IllegalInstruction> {
        let shape = self.shape(t)?;
        // Rows and bytes that are not loaded become zero.
        self.zero(t)?;
        for (i, row) in self.tiles[t].iter_mut().take(shape.rows).enumerate() {
            let from = at.wrapping_add(i.wrapping_mul(step)) as *const u8;
            // SAFETY: guaranteed by the caller; a row has at most 64 bytes.
            unsafe { from.copy_to_nonoverlapping(row.as_mut_ptr().cast(), shape.row_bytes) };
        }
        Ok(())
    }

    /// # Safety
    /// The rows are writable, or the access faults as it would on hardware.
    pub(super) unsafe fn store(
        &mut self,
        t: usize,
        at: usize,
        step: usize,
    ) -> Result<(), IllegalInstruction> {
        let shape = self.shape(t)?;
        for (i, row) in self.tiles[t].iter().take(shape.rows).enumerate() {
            let to = at.wrapping_add(i.wrapping_mul(step)) as *mut u8;
            // SAFETY: as in `load`.
            unsafe { to.copy_from_nonoverlapping(row.as_ptr().cast(), shape.row_bytes) };
        }
        Ok(())
    }

    /// The three tiles of a product and its size: rows of the sums, words of a
    /// row of pixels, words of a row of sums.
    fn product_tiles(
        &mut self,
        c: usize,
        a: usize,
        b: usize,
    ) -> Result<(&mut Tile, &Tile, &Tile, [usize; 3]), IllegalInstruction> {
        let (of_c, of_a, of_b) = (self.shape(c)?, self.shape(a)?, self.shape(b)?);
        if of_c.rows != of_a.rows
            || of_c.row_bytes != of_b.row_bytes
            || of_a.row_bytes != 4 * of_b.rows
        {
            return Err("the shapes of the tiles of a product do not match");
        }
        if of_c.row_bytes % 4 != 0 {
            return Err("the rows of a product are not whole words");
        }
        match self.tiles.get_disjoint_mut([c, a, b]) {
            Ok([c, a, b]) => Ok((c, a, b, [of_c.rows, of_a.row_bytes / 4, of_c.row_bytes / 4])),
            Err(_) => Err("the tiles of a product are not distinct"),
        }
    }

    pub(super) fn multiply_bf16(
        &mut self,
        c: usize,
        a: usize,
        b: usize,
    ) -> Result<(), IllegalInstruction> {
        let (c, a, b, size) = self.product_tiles(c, a, b)?;
        if has_fma() {
            // SAFETY: the CPU was just checked to support the instructions.
            unsafe { bf16_fma(c, a, b, size) }
        } else {
            bf16(c, a, b, size);
        }
        Ok(())
    }

    pub(super) fn multiply_int8(
        &mut self,
        c: usize,
        a: usize,
        b: usize,
    ) -> Result<(), IllegalInstruction> {
        let (c, a, b, size) = self.product_tiles(c, a, b)?;
        if has_fma() {
            // SAFETY: the CPU was just checked to support the instructions.
            unsafe { int8_avx2(c, a, b, size) }
        } else {
            int8(c, a, b, size);
        }
        Ok(())
    }
}

/// Compiled with FMA, so that `mul_add` is an instruction and not a call.
#[target_feature(enable = "avx2,fma")]
fn bf16_fma(c: &mut Tile, a: &Tile, b: &Tile, size: [usize; 3]) {
    bf16(c, a, b, size);
}

#[target_feature(enable = "avx2")]
fn int8_avx2(c: &mut Tile, a: &Tile, b: &Tile, size: [usize; 3]) {
    int8(c, a, b, size);
}

/// Flushes denormals to zero, in operands and results. (Hardware also flushes a
/// result that would round up to the smallest normal float; this does not.)
#[inline(always)]
fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE {
        0.0_f32.copysign(x)
    } else {
        x
    }
}

/// The even and odd channel of a word, as floats.
#[inline(always)]
fn halves(word: u32) -> [f32; 2] {
    [
        flush(f32::from_bits(word << 16)),
        flush(f32::from_bits(word & 0xFFFF_0000)),
    ]
}

/// Even and odd channels are accumulated separately with fused multiply-adds;
/// their total is then added to the tile's sum.
#[inline(always)]
fn bf16(c: &mut Tile, a: &Tile, b: &Tile, [rows, words, columns]: [usize; 3]) {
    for m in 0..rows {
        let (mut even, mut odd) = ([0.0_f32; 16], [0.0_f32; 16]);
        for k in 0..words {
            let [x_even, x_odd] = halves(a[m][k]);
            for n in 0..16 {
                let [y_even, y_odd] = halves(b[k][n]);
                even[n] = flush(x_even.mul_add(y_even, even[n]));
                odd[n] = flush(x_odd.mul_add(y_odd, odd[n]));
            }
        }
        for n in 0..16 {
            let sum = flush(flush(f32::from_bits(c[m][n])) + flush(even[n] + odd[n]));
            c[m][n] = if n < columns { sum.to_bits() } else { 0 };
        }
    }
    c[rows..].fill([0; 16]);
}

/// Products of unsigned and signed bytes; the sums wrap.
#[inline(always)]
fn int8(c: &mut Tile, a: &Tile, b: &Tile, [rows, words, columns]: [usize; 3]) {
    for m in 0..rows {
        let mut sums = c[m];
        for k in 0..words {
            for n in 0..16 {
                sums[n] = sums[n].wrapping_add(dot(a[m][k], b[k][n]) as u32);
            }
        }
        sums[columns..].fill(0);
        c[m] = sums;
    }
    c[rows..].fill([0; 16]);
}

/// The dot product of four unsigned and four signed bytes, which cannot
/// overflow 32 bits.
#[inline(always)]
pub(super) fn dot(x: u32, y: u32) -> i32 {
    (0..4)
        .map(|i| {
            let (x, y) = ((x >> (8 * i)) as u8, (y >> (8 * i)) as u8 as i8);
            i32::from(x) * i32::from(y)
        })
        .sum()
}
