//! TIFFs that libtiff reads although they are unusual or damaged, made from images of
//! `formats/` and `images/`.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use resnet_preprocess::{ImageError, Limits, Photo, photo};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name),
    )
    .unwrap()
}

fn whole(bytes: &[u8]) -> Result<Photo, ImageError> {
    photo(bytes, u32::MAX, &Limits::default())
}

fn find(bytes: &[u8], pattern: &[u8]) -> usize {
    let mut windows = bytes.windows(pattern.len());
    windows.position(|window| window == pattern).unwrap()
}

/// Where the data of [`tiff`] starts.
const DATA: u32 = 8;

/// A TIFF with tags of LONG values, in the order of their numbers, after its data.
fn tiff(data: &[u8], tags: &[(u16, &[u32])]) -> Vec<u8> {
    let mut file = b"II*\0\0\0\0\0".to_vec();
    file.extend(data);
    file.resize(file.len().next_multiple_of(2), 0);
    let mut entries = (tags.len() as u16).to_le_bytes().to_vec();
    for (tag, values) in tags {
        entries.extend(tag.to_le_bytes());
        entries.extend([4, 0]);
        entries.extend((values.len() as u32).to_le_bytes());
        if let [value] = values {
            entries.extend(value.to_le_bytes());
        } else {
            entries.extend((file.len() as u32).to_le_bytes());
            file.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        }
    }
    let start = (file.len() as u32).to_le_bytes();
    file[4..8].copy_from_slice(&start);
    file.extend(entries);
    file.extend([0; 4]);
    file
}

#[test]
fn a_jpeg_that_is_taller_than_its_strip_is_cut() {
    let jpeg = file("images/baseline_420.jpg");
    let expected = whole(&jpeg).unwrap();
    let (width, height) = (expected.width, expected.height - 5);
    let tags: [(u16, &[u32]); 9] = [
        (256, &[width]),
        (257, &[height]),
        (258, &[8]),
        (259, &[7]),
        (262, &[6]),
        (273, &[DATA]),
        (277, &[3]),
        (278, &[height]),
        (279, &[jpeg.len() as u32]),
    ];
    let found = whole(&tiff(&jpeg, &tags)).unwrap();
    let length = (width * height * 3) as usize;
    assert_eq!((found.width, found.height), (width, height));
    assert_eq!(found.rgb, expected.rgb[..length]);
}

/// The payloads of the segments of a JPEG with a marker.
fn segments(jpeg: &[u8], marker: u8) -> Vec<&[u8]> {
    let mut found = Vec::new();
    let mut rest = &jpeg[2..];
    while rest[1] != 0xda {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if rest[1] == marker {
            found.push(&rest[4..2 + length]);
        }
        rest = &rest[2 + length..];
    }
    found
}

#[test]
fn the_obsolete_jpeg_compression_is_read_with_tables_or_with_whole_jpegs() {
    for (name, sampling) in [("420", [2, 2]), ("422", [2, 1]), ("444", [1, 1])] {
        let jpeg = file(&format!("images/baseline_{name}.jpg"));
        let expected = whole(&jpeg).unwrap();
        let (width, height) = (expected.width, expected.height);
        let scan = find(&jpeg, b"\xff\xda");
        // The header of the scan has 14 bytes.
        let mut data = jpeg[scan + 14..jpeg.len() - 2].to_vec();
        let length = data.len() as u32;
        let mut offsets = Vec::new();
        for table in [segments(&jpeg, 0xdb), segments(&jpeg, 0xc4)].concat() {
            offsets.push(DATA + data.len() as u32);
            data.extend(&table[1..]);
        }
        let [q0, q1, dc0, ac0, dc1, ac1] = offsets[..] else {
            panic!("{offsets:?}");
        };
        let tags = |data: &[u8], length: u32, tables: &[(u16, &[u32])]| {
            let common: [(u16, &[u32]); 9] = [
                (256, &[width]),
                (257, &[height]),
                (258, &[8]),
                (259, &[6]),
                (262, &[6]),
                (273, &[DATA]),
                (277, &[3]),
                (278, &[height]),
                (279, &[length]),
            ];
            let sampling: [(u16, &[u32]); 1] = [(530, &sampling)];
            tiff(data, &[&common[..], tables, &sampling].concat())
        };
        let tables: [(u16, &[u32]); 3] = [
            (519, &[q0, q1, q1]),
            (520, &[dc0, dc1, dc1]),
            (521, &[ac0, ac1, ac1]),
        ];
        assert_eq!(whole(&tags(&data, length, &tables)), Ok(expected.clone()));
        let whole_jpeg = tags(&jpeg, jpeg.len() as u32, &[]);
        assert_eq!(whole(&whole_jpeg), Ok(expected));

        match whole(&tags(&data, length, &[])) {
            Err(ImageError::Unsupported { found }) => {
                assert!(found.contains("without its tables"), "{found}");
            }
            other => panic!("{other:?}"),
        }
        match whole(&tags(
            &data,
            length,
            &[tables[0], tables[1], (521, &[1 << 30; 3])],
        )) {
            Err(ImageError::Broken { reason, .. }) => {
                assert!(reason.contains("not in the file"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rows_after_a_damaged_one_are_read_in_group_3() {
    for name in ["g3", "g3_1d_fill"] {
        let plain = file(&format!("formats/bilevel__tiffcp_{name}.tif"));
        let expected = whole(&plain).unwrap();
        let stride = 3 * expected.width as usize;
        let mut damaged_rows = 0;
        for at in 40..100 {
            for value in [0, 1, 0x24, 0xff] {
                let mut damaged = plain.clone();
                damaged[at] = value;
                let Photo { rgb, .. } = whole(&damaged).unwrap();
                let rows = rgb.chunks(stride).zip(expected.rgb.chunks(stride));
                damaged_rows += rows.filter(|(a, b)| a != b).count();
            }
        }
        // A lost end-of-line code moves the rows below. There are 6000 rows.
        let range = 400..1200;
        assert!(range.contains(&damaged_rows), "{name}: {damaged_rows} rows");
    }
    // This byte makes one row of the sixth and the seventh.
    let plain = file("formats/bilevel__tiffcp_g3.tif");
    let mut damaged = plain.clone();
    damaged[77] = 0;
    let [plain, damaged] = [plain, damaged].map(|file| whole(&file).unwrap().rgb);
    let row = 3 * 25;
    assert_eq!(damaged[..5 * row], plain[..5 * row]);
    assert_eq!(damaged[7 * row..], plain[6 * row..24 * row]);
}

#[test]
fn lab_colours_are_read_signed_and_as_in_icc_profiles() {
    let read = |photometric: u32, pixel: [u8; 3]| {
        let tags: [(u16, &[u32]); 8] = [
            (256, &[1]),
            (257, &[1]),
            (258, &[8]),
            (259, &[1]),
            (262, &[photometric]),
            (273, &[DATA]),
            (277, &[3]),
            (278, &[1]),
        ];
        whole(&tiff(&pixel, &tags)).map(|photo| photo.rgb)
    };
    assert_eq!(read(8, [100, 40, 216]), Ok(vec![129, 65, 159]));
    assert_eq!(read(9, [100, 168, 88]), Ok(vec![129, 65, 159]));
    match read(10, [100, 40, 216]) {
        Err(ImageError::Unsupported { found }) => {
            assert_eq!(found, "a TIFF with the L*a*b* colours of fax machines");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_four_inks_are_those_of_cmyk() {
    let tags: [(u16, &[u32]); 9] = [
        (256, &[1]),
        (257, &[1]),
        (258, &[8]),
        (259, &[1]),
        (262, &[5]),
        (273, &[DATA]),
        (277, &[5]),
        (278, &[1]),
        (332, &[2]),
    ];
    let found = whole(&tiff(&[255, 0, 0, 0, 77], &tags)).unwrap();
    assert_eq!(found.rgb, [0, 255, 255]);
}
