//! Compares the JPEG decoder with libjpeg-turbo, as mozjpeg contains it: the same
//! pixels, and no refusal of a file that libjpeg-turbo reads without a warning.

use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mozjpeg_sys::{
    JCS_CMYK, JCS_RGB, boolean, jpeg_common_struct, jpeg_create_decompress, jpeg_decompress_struct,
    jpeg_destroy_decompress, jpeg_error_mgr, jpeg_finish_decompress, jpeg_mem_src,
    jpeg_read_header, jpeg_read_scanlines, jpeg_start_decompress, jpeg_std_error,
};
use resnet_preprocess::{ImageError, photo};

use crate::image::{LIMITS, MAX_PIXELS};

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
    let ours = photo(bytes, u32::MAX, &LIMITS);
    let Some(theirs) = decode(bytes) else {
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

/// `None` if libjpeg-turbo refuses the file, or if it is too large.
fn decode(bytes: &[u8]) -> Option<Decoded> {
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
        let result = catch_unwind(AssertUnwindSafe(|| decompress(info, bytes)));
        jpeg_destroy_decompress(info);
        match result {
            Ok(decoded) => decoded,
            Err(payload) if payload.is::<Refused>() => None,
            Err(payload) => resume_unwind(payload),
        }
    }
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
