//! How the samples of a JPEG XL image become sRGB.
//!
//! `jxl-oxide` reduces the brightness of every image whose brightest white is
//! declared to be above 255 cd/m2. That is right for PQ and HLG, which are brighter
//! than sRGB. Images with other transfer functions have their white at 1, whatever it
//! is declared to be, and are shown as they are by other software. They are rendered
//! in PQ, which is not reduced, and converted here.

use jxl_oxide::color::{
    ColourEncoding, ColourSpace, EnumColourEncoding, Primaries, TransferFunction, WhitePoint,
};
use jxl_oxide::{ImageStream, JxlImage, RenderingIntent};

/// White of sRGB in cd/m2, as the decoder counts it.
const SRGB_WHITE: f32 = 255.0;

/// What the decoder is asked for.
#[derive(Clone, Copy)]
pub(super) enum Rendering {
    /// The stored samples: they are sRGB, or nothing here can convert them.
    Stored,
    /// sRGB.
    Srgb,
    /// PQ with the primaries of sRGB, in which white has this brightness in cd/m2.
    Pq(f32),
}

impl Rendering {
    /// The one that is right for the colours of this image.
    pub(super) fn of(image: &JxlImage) -> Self {
        let metadata = &image.image_header().metadata;
        let is_stored = match &metadata.colour_encoding {
            _ if metadata.xyb_encoded => false,
            ColourEncoding::IccProfile(_) => true,
            ColourEncoding::Enum(encoding) => is_stored(encoding),
        };
        let white = metadata.tone_mapping.intensity_target;
        match white > SRGB_WHITE && image.hdr_type().is_none() {
            _ if is_stored => Self::Stored,
            false => Self::Srgb,
            true => Self::Pq(white),
        }
    }

    /// The encoding to request, if it is not that of the image.
    pub(super) fn encoding(self) -> Option<EnumColourEncoding> {
        let srgb = EnumColourEncoding::srgb(RenderingIntent::Relative);
        match self {
            Self::Stored => None,
            Self::Srgb => Some(srgb),
            Self::Pq(_) => Some(EnumColourEncoding {
                tf: TransferFunction::Pq,
                ..srgb
            }),
        }
    }

    /// Reads all samples.
    pub(super) fn read(self, stream: &mut ImageStream<'_>, samples: &mut [u8]) {
        let Self::Pq(white) = self else {
            stream.write_to_buffer(samples);
            return;
        };
        let table: Vec<u8> = (0..=u16::MAX).map(|pq| srgb_of_pq(pq, white)).collect();
        let mut part = [0_u16; 4096];
        for to in samples.chunks_mut(part.len()) {
            let from = &mut part[..to.len()];
            stream.write_to_buffer(from);
            for (to, from) in to.iter_mut().zip(from) {
                *to = table[usize::from(*from)];
            }
        }
    }
}

/// Whether samples in this encoding are sRGB or of an unknown kind.
fn is_stored(encoding: &EnumColourEncoding) -> bool {
    let is_srgb = matches!(encoding.white_point, WhitePoint::D65)
        && matches!(encoding.tf, TransferFunction::Srgb);
    match encoding.colour_space {
        ColourSpace::Rgb => is_srgb && matches!(encoding.primaries, Primaries::Srgb),
        ColourSpace::Grey => is_srgb,
        ColourSpace::Unknown => true,
        ColourSpace::Xyb => false,
    }
}

/// The sRGB sample of a PQ sample (SMPTE ST 2084 and IEC 61966-2-1).
fn srgb_of_pq(pq: u16, white: f32) -> u8 {
    let root = (f32::from(pq) / 65535.0).powf(32.0 / 2523.0);
    let above = (root - 107.0 / 128.0).max(0.0);
    let light = (above / (2413.0 / 128.0 - 2392.0 / 128.0 * root)).powf(8192.0 / 1305.0);
    let linear = (light * 10_000.0 / white).min(1.0);
    let srgb = match linear <= 0.003_130_8 {
        true => 12.92 * linear,
        false => 1.055 * linear.powf(1.0 / 2.4) - 0.055,
    };
    (srgb * 255.0).round() as u8
}
