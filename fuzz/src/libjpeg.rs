//! Compares the JPEG decoder with libjpeg-turbo, as mozjpeg contains it: the same
//! pixels, and no refusal of a file that libjpeg-turbo reads without a warning.

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mozjpeg_sys::{
    JBLOCK, JCS_CMYK, JCS_RGB, boolean, jpeg_common_struct, jpeg_component_info,
    jpeg_create_decompress, jpeg_decompress_struct, jpeg_destroy_decompress, jpeg_error_mgr,
    jpeg_finish_decompress, jpeg_mem_src, jpeg_read_coefficients, jpeg_read_header,
    jpeg_read_scanlines, jpeg_start_decompress, jpeg_std_error,
};
use resnet_preprocess::{ImageError, photo};

use crate::image::{LIMITS, MAX_PIXELS};

/// The largest sum of the absolute coefficients of a block for which libjpeg-turbo's C
/// code clamps all samples: it looks them up in a table that ends 384 beyond their range,
/// and a coefficient adds at most a quarter of its value to a sample. The vector code, whose
/// pixels ours are, clamps all values.
const MOST_COEFFICIENTS: u64 = 4 * 384;

/// What libjpeg-turbo makes of a file.
struct Decoded {
    size: [u32; 2],
    /// 3 for RGB, 4 for CMYK.
    channels: usize,
    pixels: Vec<u8>,
    /// Warnings about damage.
    warnings: i64,
}

/// Decodes `bytes` with both decoders.
///
/// # Panics
/// When they differ.
pub fn compare(bytes: &[u8]) {
    if !bytes.starts_with(b"\xff\xd8\xff") || has_orientation(bytes) {
        return;
    }
    // SAFETY: the decoders come from libjpeg.
    let may_overflow = with_decoder(|info| unsafe { may_overflow(info, bytes) });
    if may_overflow != Some(false) {
        return;
    }
    let ours = photo(bytes, u32::MAX, &LIMITS);
    // SAFETY: as above.
    let theirs = with_decoder(|info| unsafe { decompress(info, bytes) });
    let Some(theirs) = theirs.flatten() else {
        // libjpeg-turbo reads a header completely before it looks at the pixels, and
        // Pillow reads no further than the last pixel, as we do.
        return;
    };
    match ours {
        Ok(ours) if theirs.warnings == 0 => {
            assert_eq!([ours.width, ours.height], theirs.size);
            if theirs.channels == 3 {
                let differs = ours
                    .rgb
                    .iter()
                    .zip(&theirs.pixels)
                    .position(|(a, b)| a != b);
                assert_eq!(differs, None, "the pixels differ");
            }
        }
        Err(ImageError::Broken { reason, .. })
            if theirs.warnings == 0 && !reason.contains("more work") =>
        {
            panic!("libjpeg-turbo reads it, and we do not: {reason}");
        }
        _ => {}
    }
}

/// Whether the file may have an orientation, which libjpeg-turbo does not apply.
fn has_orientation(bytes: &[u8]) -> bool {
    let contains = |text: &[u8]| bytes.windows(text.len()).any(|window| window == text);
    contains(b"Exif") || contains(b"http://ns.adobe.com")
}

/// What an error of libjpeg unwinds with.
struct Refused;

unsafe extern "C-unwind" fn refuse(_: &mut jpeg_common_struct) {
    resume_unwind(Box::new(Refused));
}

unsafe extern "C-unwind" fn count_warning(info: &mut jpeg_common_struct, level: i32) {
    if level < 0 {
        // SAFETY: the error manager outlives the decoder.
        unsafe { (*info.err).num_warnings += 1 };
    }
}

/// Calls `work` with a decoder of libjpeg-turbo. `None` if libjpeg-turbo refuses the file.
fn with_decoder<T>(work: impl FnOnce(&mut jpeg_decompress_struct) -> T) -> Option<T> {
    let mut errors = MaybeUninit::<jpeg_error_mgr>::zeroed();
    let mut info = MaybeUninit::<jpeg_decompress_struct>::zeroed();
    // SAFETY: both are plain C structures, which libjpeg initialises; they stay in
    // place until the decoder is destroyed.
    unsafe {
        let errors = errors.assume_init_mut();
        jpeg_std_error(errors);
        errors.error_exit = Some(refuse);
        errors.emit_message = Some(count_warning);
        let info = info.assume_init_mut();
        info.common.err = errors;
        jpeg_create_decompress(info);
        let result = catch_unwind(AssertUnwindSafe(|| work(info)));
        jpeg_destroy_decompress(info);
        match result {
            Ok(result) => Some(result),
            Err(payload) if payload.is::<Refused>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
}

/// Whether a block may have samples far beyond their range, for which libjpeg-turbo's
/// vector code and C code return different pixels.
/// Images above the limit of pixels count too.
///
/// # Safety
/// `info` was created by libjpeg.
unsafe fn may_overflow(info: &mut jpeg_decompress_struct, bytes: &[u8]) -> bool {
    // SAFETY: the arrays have a row for each row of blocks of their component, and exist
    // until the decoder is destroyed.
    unsafe {
        jpeg_mem_src(info, bytes.as_ptr(), bytes.len() as _);
        jpeg_read_header(info, true as boolean);
        if u64::from(info.image_width) * u64::from(info.image_height) > MAX_PIXELS {
            return true;
        }
        let arrays = jpeg_read_coefficients(info);
        if arrays.is_null() {
            return true;
        }
        for index in 0..info.num_components as usize {
            let component = &*info.comp_info.add(index);
            for row in 0..component.height_in_blocks {
                let rows = ((*info.common.mem).access_virt_barray).map(|access| {
                    access(
                        &mut info.common,
                        *arrays.add(index),
                        row,
                        1,
                        false as boolean,
                    )
                });
                let Some(rows) = rows else { return true };
                let blocks = std::slice::from_raw_parts(*rows, component.width_in_blocks as usize);
                if blocks.iter().any(|block| exceeds(component, block)) {
                    return true;
                }
            }
        }
        false
    }
}

/// Whether the coefficients of a block, times their quantisation steps, are too large.
fn exceeds(component: &jpeg_component_info, block: &JBLOCK) -> bool {
    // SAFETY: libjpeg keeps the table of each component until the decoder is destroyed.
    let Some(table) = (unsafe { component.quant_table.as_ref() }) else {
        return true;
    };
    let products = block.iter().zip(&table.quantval);
    let sum: u64 = products
        .map(|(&value, &step)| u64::from(value.unsigned_abs()) * u64::from(step))
        .sum();
    sum > MOST_COEFFICIENTS
}

/// # Safety
/// `info` was created by libjpeg.
unsafe fn decompress(info: &mut jpeg_decompress_struct, bytes: &[u8]) -> Option<Decoded> {
    // SAFETY: libjpeg's functions are called in the order that its manual gives; each
    // row has the number of samples that it states.
    unsafe {
        jpeg_mem_src(info, bytes.as_ptr(), bytes.len() as _);
        jpeg_read_header(info, true as boolean);
        let size = [info.image_width, info.image_height];
        if u64::from(size[0]) * u64::from(size[1]) > MAX_PIXELS {
            return None;
        }
        let channels = if info.num_components == 4 { 4 } else { 3 };
        info.out_color_space = if channels == 4 { JCS_CMYK } else { JCS_RGB };
        // README.md: incomplete progressive files are not smoothed.
        info.do_block_smoothing = false as boolean;
        jpeg_start_decompress(info);
        let stride = size[0] as usize * channels;
        let mut pixels = vec![0; stride * size[1] as usize];
        while info.output_scanline < info.output_height {
            let row = info.output_scanline as usize * stride;
            let mut row = pixels[row..row + stride].as_mut_ptr();
            jpeg_read_scanlines(info, &mut row, 1);
        }
        jpeg_finish_decompress(info);
        Some(Decoded {
            size,
            channels,
            pixels,
            warnings: i64::from((*info.common.err).num_warnings),
        })
    }
}
