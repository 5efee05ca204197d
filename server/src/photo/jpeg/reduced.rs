//! A baseline JPEG at a half, a quarter or an eighth of its size, straight
//! from the low coefficients. Chroma that is stored at half the resolution
//! gets twice the points, so that no plane needs upsampling.

use super::super::error::PhotoError;
use super::super::resize::Bitmap;
use super::super::sniff::Format;
use super::coded::{self, Coded};
use super::header::Header;
use super::huffman::{Bits, NoSuchCode, ZIGZAG, decode_block};
use super::idct::{self, Cosines, Idct};

/// One interleaved scan of a whole photo, ready to be decoded.
pub(super) struct Scan<'a> {
    header: &'a Header<'a>,
    planes: Vec<Plane<'a>>,
    /// Points, across and down, made of each 8 x 8 block of full resolution.
    points: usize,
    /// Pixels of an MCU, made: across and down.
    mcu: [usize; 2],
}

/// A colour component on its way.
struct Plane<'a> {
    coded: Coded<'a>,
    /// Points made of a block, across and down.
    points: [usize; 2],
    idct: Idct,
    /// Coefficients, as coded, that the points depend on.
    needed: usize,
    prediction: i32,
    /// A row of MCUs, made: `[mcu height, mcus * mcu width]`.
    samples: Vec<u8>,
}

impl<'a> Scan<'a> {
    /// Prepares the photo for `points` (1, 2 or 4) a block. `None` where this
    /// decoder does not apply: 8 points, or what `coded` does not cover.
    pub(super) fn new(header: &'a Header<'a>, points: usize) -> Option<Self> {
        if points == 8 {
            return None;
        }
        let mut planes = Vec::new();
        let mut mcu = [points; 2];
        for coded in coded::components(header)? {
            let made = coded.ratio.map(|ratio| points * ratio);
            mcu = [made[0] * coded.blocks[0], made[1] * coded.blocks[1]];
            planes.push(Plane {
                coded,
                points: made,
                idct: idct::choose(made[0], made[1])?,
                needed: needed(made),
                prediction: 0,
                samples: Vec::new(),
            });
        }
        Some(Self {
            header,
            planes,
            points,
            mcu,
        })
    }

    /// Decodes to grey or RGB at `points / 8` of the size, rounded up.
    ///
    /// # Errors
    /// `Broken` for data that ends early or holds codes that do not exist.
    pub(super) fn decode(mut self) -> Result<Bitmap, PhotoError> {
        let [width, height] = [self.header.width, self.header.height]
            .map(|side| (side as usize * self.points).div_ceil(8));
        let mcus = [width.div_ceil(self.mcu[0]), height.div_ceil(self.mcu[1])];
        let stride = mcus[0] * self.mcu[0];
        for plane in &mut self.planes {
            plane.samples = vec![0; stride * self.mcu[1]];
        }
        let channels = self.planes.len();
        let mut samples = Vec::with_capacity(width * height * channels);

        let cosines = Cosines::new();
        let mut bits = Bits::new(self.header.data);
        let mut until_restart = self.header.restart_interval;
        for row in 0..mcus[1] {
            for column in 0..mcus[0] {
                if self.header.restart_interval > 0 {
                    if until_restart == 0 {
                        self.restart(&mut bits)?;
                        until_restart = self.header.restart_interval;
                    }
                    until_restart -= 1;
                }
                for plane in &mut self.planes {
                    plane
                        .decode_mcu(&mut bits, &cosines, column, stride)
                        .map_err(|NoSuchCode| {
                            broken("its data holds a code that does not exist")
                        })?;
                }
            }
            if bits.is_short() {
                return Err(broken("it ends before its last pixel"));
            }
            let rows = self.mcu[1].min(height - row * self.mcu[1]);
            self.emit(rows, stride, width, &mut samples);
        }
        Ok(Bitmap {
            width: width as u32,
            height: height as u32,
            channels,
            samples,
        })
    }

    /// Goes on after a restart marker (F.2.1.3.1).
    fn restart(&mut self, bits: &mut Bits) -> Result<(), PhotoError> {
        if bits.is_short() {
            return Err(broken("it ends before its last pixel"));
        }
        bits.next_segment();
        self.planes
            .iter_mut()
            .for_each(|plane| plane.prediction = 0);
        Ok(())
    }

    /// Appends the first `rows` of the decoded row of MCUs to `samples`.
    fn emit(&self, rows: usize, stride: usize, width: usize, samples: &mut Vec<u8>) {
        for row in 0..rows {
            let row = row * stride..row * stride + width;
            match &self.planes[..] {
                [y, cb, cr] => {
                    let (y, cb) = (&y.samples[row.clone()], &cb.samples[row.clone()]);
                    let chroma = cb.iter().zip(&cr.samples[row]);
                    samples.extend(
                        y.iter()
                            .zip(chroma)
                            .flat_map(|(&y, (&cb, &cr))| rgb(y, cb, cr)),
                    );
                }
                [grey, ..] => samples.extend_from_slice(&grey.samples[row]),
                [] => {}
            }
        }
    }
}

impl Plane<'_> {
    /// Decodes this plane's blocks of the MCU in `column`.
    #[inline]
    fn decode_mcu(
        &mut self,
        bits: &mut Bits,
        cosines: &Cosines,
        column: usize,
        stride: usize,
    ) -> Result<(), NoSuchCode> {
        let Coded {
            tables: [dc, ac],
            quantization,
            blocks,
            ..
        } = &self.coded;
        for down in 0..blocks[1] {
            for across in 0..blocks[0] {
                let mut block = [0.0; 64];
                let prediction = &mut self.prediction;
                let reached = decode_block(
                    bits,
                    [dc, ac],
                    prediction,
                    quantization,
                    self.needed,
                    &mut block,
                )?;
                let x = (column * blocks[0] + across) * self.points[0];
                let out = &mut self.samples[down * self.points[1] * stride + x..];
                if reached == 1 {
                    let grey = (block[0] / 8.0 + 128.5) as u8;
                    for row in out.chunks_mut(stride).take(self.points[1]) {
                        row[..self.points[0]].fill(grey);
                    }
                } else {
                    (self.idct)(&block, cosines, out, stride);
                }
            }
        }
        Ok(())
    }
}

/// How many coefficients, as coded, a transform onto these points reads.
fn needed([across, down]: [usize; 2]) -> usize {
    let low = |&at: &u8| usize::from(at % 8) < across && usize::from(at / 8) < down;
    ZIGZAG.iter().rposition(low).map_or(0, |last| last + 1)
}

/// ITU-T T.871, 7, in 16-bit fixed point.
pub(super) fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let y = (i32::from(y) << 16) + (1 << 15);
    let (cb, cr) = (i32::from(cb) - 128, i32::from(cr) - 128);
    let clamp = |value: i32| (value >> 16).clamp(0, 255) as u8;
    [
        clamp(y + 91_881 * cr),
        clamp(y - 22_554 * cb - 46_802 * cr),
        clamp(y + 116_130 * cb),
    ]
}

pub(super) fn broken(reason: &str) -> PhotoError {
    PhotoError::broken(Format::Jpeg, reason)
}
