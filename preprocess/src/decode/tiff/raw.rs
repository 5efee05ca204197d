//! Raw images of cameras. They are TIFF files, but what the decoder could read of
//! them is only a thumbnail.

use crate::decode::tiff::layout::tag;
use crate::ifd::{Directory, TiffFile};

/// The most directories of a file that are searched.
const MAX_DIRECTORIES: usize = 16;

/// The name of the raw format, with its article, if the file is one.
pub(super) fn name(file: &TiffFile<'_>, first: &Directory<'_>) -> Option<&'static str> {
    if first.get(tag::DNG_VERSION).is_some() {
        return Some("a raw image in Adobe's format (DNG)");
    }
    let make = first.get(tag::MAKE).map_or(&[][..], |make| make.bytes());
    let is_raw = directories(*file, first).any(|directory| is_raw(&directory));
    // These cameras write the pixels of the sensor as if they were ordinary ones.
    let has_thumbnail_first = first.uint(tag::NEW_SUBFILE_TYPE) == Some(1)
        && first.get(tag::SUB_IFDS).is_some()
        && !make.is_empty();
    (is_raw || has_thumbnail_first).then(|| camera(make))
}

/// The directories of the file: those of the pages, and those within a page.
fn directories<'a>(
    file: TiffFile<'a>,
    first: &Directory<'a>,
) -> impl Iterator<Item = Directory<'a>> {
    let pages = std::iter::successors(Some(*first), move |page| match page.next {
        0 => None,
        offset => file.directory(offset),
    });
    pages
        .take(MAX_DIRECTORIES)
        .flat_map(move |page| {
            let inner = page
                .get(tag::SUB_IFDS)
                .into_iter()
                .flat_map(move |offsets| {
                    let offsets = (0..offsets.count()).filter_map(move |at| offsets.uint(at));
                    offsets.filter_map(move |offset| file.directory(offset))
                });
            std::iter::once(page).chain(inner)
        })
        .take(MAX_DIRECTORIES)
}

/// Whether the pixels of a directory are those of a sensor.
fn is_raw(directory: &Directory<'_>) -> bool {
    const COLOR_FILTER_ARRAY: u64 = 32803;
    const LINEAR_RAW: u64 = 34892;
    // Compressions of Sony, Nikon and Pentax.
    let is_camera = matches!(
        directory.uint(tag::COMPRESSION),
        Some(32767 | 34713 | 65535)
    );
    is_camera
        || matches!(
            directory.uint(tag::PHOTOMETRIC),
            Some(COLOR_FILTER_ARRAY | LINEAR_RAW)
        )
}

fn camera(make: &[u8]) -> &'static str {
    const MAKES: [(&str, &str); 10] = [
        ("NIKON", "a Nikon raw image (NEF)"),
        ("SONY", "a Sony raw image (ARW)"),
        ("CANON", "a Canon raw image"),
        ("PENTAX", "a Pentax raw image (PEF)"),
        ("RICOH", "a Pentax raw image (PEF)"),
        ("OLYMPUS", "an Olympus raw image (ORF)"),
        ("PANASONIC", "a Panasonic raw image (RW2)"),
        ("SAMSUNG", "a Samsung raw image (SRW)"),
        ("HASSELBLAD", "a Hasselblad raw image (3FR)"),
        ("KODAK", "a Kodak raw image (DCR)"),
    ];
    let make = make.to_ascii_uppercase();
    let known = MAKES
        .iter()
        .find(|(name, _)| memchr::memmem::find(&make, name.as_bytes()).is_some());
    known.map_or("a raw image of a camera", |(_, name)| name)
}
