//! PNM: the bitmaps, greymaps and pixmaps of Netpbm (PBM, PGM, PPM and PAM), as Pillow
//! reads them.

mod header;

pub(crate) use header::is_pnm;

use crate::decode::decoded::DecodedImage;
use crate::decode::pnm::header::{Coding, Header, Tokens, number};
use crate::error::ImageError;
use crate::format::Format;
use crate::limits::Budget;

/// The most characters of a number in the pixels, as in Pillow.
const MAX_DIGITS: usize = 10;

/// Decodes a file for which [`is_pnm`] is true.
///
/// # Errors
/// `TooLarge`, `Unsupported` or `Broken`.
pub(crate) fn decode(bytes: &[u8], budget: &Budget<'_>) -> Result<DecodedImage, ImageError> {
    let header = Header::read(bytes)?;
    let [width, height] = header.size;
    budget.check(Format::Pnm, width, height)?;
    budget.spend(Format::Pnm, 0)?;
    let scale = scale(&header);
    let mut source = Tokens { rest: header.data };
    let stride = width as usize * header.channels;
    let mut samples = vec![0; stride * height as usize];
    for row in samples.chunks_exact_mut(stride) {
        budget.spend(Format::Pnm, stride as u64)?;
        match header.coding {
            Coding::PlainBits => plain_bits(&mut source, row)?,
            Coding::Plain => plain(&mut source, &scale, row)?,
            Coding::Bits => bits(&mut source.rest, row)?,
            Coding::Binary => binary(&mut source.rest, &scale, row)?,
        }
    }
    Ok(DecodedImage::upright(header.size, header.channels, samples))
}

/// The sample of 8 bits for each value up to the maximum. As in Pillow, RGB is
/// rounded to 8 bits; grey with more than 8 bits is rounded to 16 bits, of which the
/// high byte is kept.
fn scale(header: &Header<'_>) -> Vec<u8> {
    let max = f64::from(header.max);
    let is_high_byte = header.max > 255 && header.channels < 3;
    let scaled = |value: u16| {
        let share = f64::from(value) / max;
        match is_high_byte {
            true => ((share * 65535.0).round_ties_even() as u16 >> 8) as u8,
            false => (share * 255.0).round_ties_even() as u8,
        }
    };
    (0..=header.max).map(scaled).collect()
}

/// Digits, with or without spaces between them.
fn plain_bits(source: &mut Tokens<'_>, row: &mut [u8]) -> Result<(), ImageError> {
    for to in row {
        source.skip_spaces();
        let (digit, rest) = source.rest.split_first().ok_or_else(truncated)?;
        source.rest = rest;
        *to = match digit {
            b'0' => 255,
            b'1' => 0,
            _ => return Err(broken("its pixels are not digits 0 and 1")),
        };
    }
    Ok(())
}

fn plain(source: &mut Tokens<'_>, scale: &[u8], row: &mut [u8]) -> Result<(), ImageError> {
    for to in row {
        let token = source.next().ok_or_else(truncated)?;
        let value = Some(token).filter(|token| token.len() <= MAX_DIGITS);
        let value = value.and_then(number);
        let value = value.ok_or_else(|| broken("its pixels are not numbers"))?;
        let sample = scale.get(value as usize).copied();
        *to = sample.ok_or_else(|| broken("a sample is above its maximum value"))?;
    }
    Ok(())
}

fn bits(source: &mut &[u8], row: &mut [u8]) -> Result<(), ImageError> {
    let packed = take(source, row.len().div_ceil(8))?;
    for (to, byte) in row.chunks_mut(8).zip(packed) {
        for (bit, to) in to.iter_mut().enumerate() {
            *to = if byte << bit & 0x80 == 0 { 255 } else { 0 };
        }
    }
    Ok(())
}

/// Values above the maximum are white, as in Pillow.
fn binary(source: &mut &[u8], scale: &[u8], row: &mut [u8]) -> Result<(), ImageError> {
    let sample = |value: usize| scale.get(value).copied().unwrap_or(255);
    match scale.len() {
        256 => row.copy_from_slice(take(source, row.len())?),
        0..256 => {
            let values = take(source, row.len())?;
            for (to, &value) in row.iter_mut().zip(values) {
                *to = sample(value.into());
            }
        }
        _ => {
            let values = take(source, 2 * row.len())?;
            for (to, &value) in row.iter_mut().zip(values.as_chunks::<2>().0) {
                *to = sample(u16::from_be_bytes(value).into());
            }
        }
    }
    Ok(())
}

fn take<'a>(source: &mut &'a [u8], length: usize) -> Result<&'a [u8], ImageError> {
    let (taken, rest) = source.split_at_checked(length).ok_or_else(truncated)?;
    *source = rest;
    Ok(taken)
}

fn truncated() -> ImageError {
    ImageError::truncated(Format::Pnm)
}

fn broken(reason: impl ToString) -> ImageError {
    ImageError::broken(Format::Pnm, reason)
}
