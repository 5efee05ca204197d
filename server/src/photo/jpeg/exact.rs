//! A baseline JPEG at its full size, to the bit what libjpeg makes of it: for
//! pictures so small that each pixel counts, which other decoders' roundings
//! change enough to change a network's answer.

use super::super::error::PhotoError;
use super::super::resize::Bitmap;
use super::coded::{self, Coded};
use super::header::Header;
use super::huffman::{Bits, NoSuchCode, decode_block};
use super::reduced::{broken, rgb};
use super::upsample::upsample;

/// Most pixels of a picture that is decoded here: beyond, speed counts more.
const SMALL: u32 = 128 * 128;

/// A colour component on its way.
struct Plane<'a> {
    coded: Coded<'a>,
    prediction: i32,
    /// Samples in a row, padding of the last MCU included.
    stride: usize,
    samples: Vec<u8>,
}

/// Decodes a small picture; `None` where this decoder does not apply.
///
/// # Errors
/// `Broken` for data that ends early or holds codes that do not exist.
pub(super) fn decode(header: &Header) -> Option<Result<Bitmap, PhotoError>> {
    let small = header.width.checked_mul(header.height)? <= SMALL;
    let components = coded::components(header).filter(|_| small)?;
    let supported = |c: &Coded| matches!(c.ratio, [1, 1] | [2, 1] | [2, 2]);
    components
        .iter()
        .all(supported)
        .then(|| bitmap(header, components))
}

fn bitmap(header: &Header, components: Vec<Coded>) -> Result<Bitmap, PhotoError> {
    let [width, height] = [header.width as usize, header.height as usize];
    let across = |c: &Coded| 8 * c.blocks[0] * c.ratio[0];
    let down = |c: &Coded| 8 * c.blocks[1] * c.ratio[1];
    let mcus = [
        width.div_ceil(components.first().map_or(8, across)),
        height.div_ceil(components.first().map_or(8, down)),
    ];
    let mut planes: Vec<Plane> = components
        .into_iter()
        .map(|coded| {
            let stride = 8 * mcus[0] * coded.blocks[0];
            Plane {
                samples: vec![0; stride * 8 * mcus[1] * coded.blocks[1]],
                coded,
                prediction: 0,
                stride,
            }
        })
        .collect();
    scan(header, mcus, &mut planes)?;
    let full: Vec<Vec<u8>> = planes
        .iter()
        .map(|p| upsample(&p.samples, p.stride, [width, height], p.coded.ratio))
        .collect();
    let samples = match &full[..] {
        [y, cb, cr] => {
            let pixels = y.iter().zip(cb).zip(cr);
            pixels.flat_map(|((&y, &cb), &cr)| rgb(y, cb, cr)).collect()
        }
        planes => planes.concat(),
    };
    Ok(Bitmap {
        width: header.width,
        height: header.height,
        channels: full.len(),
        samples,
    })
}

/// Decodes the blocks of every plane, MCU by MCU.
fn scan(header: &Header, mcus: [usize; 2], planes: &mut [Plane]) -> Result<(), PhotoError> {
    let mut bits = Bits::new(header.data);
    for mcu in 0..mcus[0] * mcus[1] {
        let interval = header.restart_interval;
        if interval > 0 && mcu > 0 && mcu % interval == 0 {
            if bits.is_short() {
                return Err(broken("it ends before its last pixel"));
            }
            bits.next_segment();
            planes.iter_mut().for_each(|plane| plane.prediction = 0);
        }
        for plane in planes.iter_mut() {
            plane
                .decode_mcu(&mut bits, [mcu % mcus[0], mcu / mcus[0]])
                .map_err(|NoSuchCode| broken("its data holds a code that does not exist"))?;
        }
    }
    if bits.is_short() {
        return Err(broken("it ends before its last pixel"));
    }
    Ok(())
}

impl Plane<'_> {
    fn decode_mcu(&mut self, bits: &mut Bits, [column, row]: [usize; 2]) -> Result<(), NoSuchCode> {
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
                decode_block(bits, [dc, ac], prediction, quantization, 64, &mut block)?;
                let (x, y) = (column * blocks[0] + across, row * blocks[1] + down);
                let out = &mut self.samples[8 * y * self.stride + 8 * x..];
                idct(&block.map(|c| c as i32), out, self.stride);
            }
        }
        Ok(())
    }
}

/// Inverse DCT in 13-bit fixed point (Loeffler, Ligtenberg and Moschytz 1989),
/// with the roundings of libjpeg's accurate integer method.
fn idct(block: &[i32; 64], out: &mut [u8], stride: usize) {
    let mut columns = [0; 64];
    for x in 0..8 {
        let column = std::array::from_fn(|v| block[8 * v + x]);
        for (y, value) in transform(column).into_iter().enumerate() {
            columns[8 * y + x] = round(value, 11);
        }
    }
    for (row, out) in columns.chunks_exact(8).zip(out.chunks_mut(stride)) {
        let values = transform(std::array::from_fn(|u| row[u]));
        for (out, value) in out.iter_mut().zip(values) {
            *out = (round(value, 18) + 128).clamp(0, 255) as u8;
        }
    }
}

fn round(value: i32, bits: u32) -> i32 {
    value.wrapping_add(1 << (bits - 1)) >> bits
}

/// Eight points from eight frequencies, times 2^13 and the square root of 8.
/// Wrapping: only damaged files have coefficients that overflow.
fn transform(f: [i32; 8]) -> [i32; 8] {
    let times = |a: i32, b: i32| a.wrapping_mul(b);
    let sum = |a: i32, b: i32| a.wrapping_add(b);
    let difference = |a: i32, b: i32| a.wrapping_sub(b);

    let z = times(sum(f[2], f[6]), 4433);
    let (low, high) = (sum(z, times(f[6], -15137)), sum(z, times(f[2], 6270)));
    let (plus, minus) = (
        times(sum(f[0], f[4]), 8192),
        times(difference(f[0], f[4]), 8192),
    );
    let even = [
        sum(plus, high),
        sum(minus, low),
        difference(minus, low),
        difference(plus, high),
    ];

    let z1 = times(sum(f[7], f[1]), -7373);
    let z2 = times(sum(f[5], f[3]), -20995);
    let (z3, z4) = (sum(f[7], f[3]), sum(f[5], f[1]));
    let z5 = times(sum(z3, z4), 9633);
    let z3 = sum(times(z3, -16069), z5);
    let z4 = sum(times(z4, -3196), z5);
    let odd = [
        sum(times(f[1], 12299), sum(z1, z4)),
        sum(times(f[3], 25172), sum(z2, z3)),
        sum(times(f[5], 16819), sum(z2, z4)),
        sum(times(f[7], 2446), sum(z1, z3)),
    ];
    std::array::from_fn(|i| {
        if i < 4 {
            sum(even[i], odd[i])
        } else {
            difference(even[7 - i], odd[7 - i])
        }
    })
}
