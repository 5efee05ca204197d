//! Tests of the images that are numbers.

use super::*;
use crate::core::admission::Admission;
use crate::core::metrics::Metrics;

fn share(limit: usize) -> Arc<ByteShare> {
    Arc::new(Admission::new(1, limit, Arc::new(Metrics::new())).bytes())
}

fn preprocessing(crop: u32) -> Preprocessing {
    Preprocessing {
        resize: preprocess::Resize::ShortSide(crop),
        crop,
        ..Preprocessing::imagenet()
    }
}

fn prepare(size: [u32; 2], format: FloatFormat, values: &[u8]) -> Result<Prepared, Error> {
    FloatImage::new(size, format, Bytes::copy_from_slice(values), share(1 << 20))
        .prepare(&preprocessing(2), &preprocess::Limits::default())
}

/// 0, 1, ... 11 as `[2, 2, 3]`, in each type.
fn floats(element: Element) -> Vec<u8> {
    let values = (0..12).map(|value: u8| f32::from(value));
    match element {
        Element::F16 => values
            .flat_map(|v| f16::from_f32(v).to_le_bytes())
            .collect(),
        Element::Bf16 => values
            .flat_map(|v| bf16::from_f32(v).to_le_bytes())
            .collect(),
        Element::F32 => values.flat_map(f32::to_le_bytes).collect(),
    }
}

#[test]
fn floats_of_each_type_and_layout_become_planes() {
    for element in [Element::F16, Element::Bf16, Element::F32] {
        let frame = |layout| {
            let range = FloatRange::Normalised;
            let format = FloatFormat {
                element,
                layout,
                range,
            };
            match prepare([2, 2], format, &floats(element)).unwrap().frame {
                Frame::Planes(planes) => planes,
                Frame::Pixels(_) => panic!("pixels"),
            }
        };
        let expected: Vec<f32> = (0..12_u8).map(f32::from).collect();
        assert_eq!(frame(Layout::ChannelsFirst), expected, "{element:?}");
        let expected = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11].map(|v: u8| f32::from(v));
        assert_eq!(frame(Layout::ChannelsLast), expected, "{element:?}");
    }
}

#[test]
fn floats_in_the_range_of_pixels_become_bytes() {
    let pixels = |range, layout, values: [f32; 12]| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let element = Element::F32;
        match prepare(
            [2, 2],
            FloatFormat {
                element,
                layout,
                range,
            },
            &bytes,
        ) {
            Ok(Prepared {
                frame: Frame::Pixels(rgb),
                ..
            }) => rgb.to_vec(),
            other => panic!("{:?}", other.map(|_| ())),
        }
    };
    let values = [0.0, 1.0, 0.5, 2.0, -1.0, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0];
    let expected = [0, 255, 128, 255, 0, 51, 0, 0, 0, 0, 0, 255];
    assert_eq!(
        pixels(FloatRange::Unit, Layout::ChannelsLast, values),
        expected
    );
    let values = [
        0.0, 3.0, 6.0, 9.0, 1.0, 4.0, 7.0, 10.0, 2.0, 5.0, 8.4, 300.0,
    ];
    let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255];
    assert_eq!(
        pixels(FloatRange::Bytes, Layout::ChannelsFirst, values),
        expected
    );
}

#[test]
fn pixels_of_the_networks_size_are_not_copied_and_others_are_resized() {
    let grey = |size: [u32; 2], value| {
        let rgb = Bytes::from(vec![value; values(size)]);
        let at = rgb.as_ptr();
        let image = PixelImage::new(size, Layout::ChannelsLast, rgb, share(1 << 20));
        let limits = preprocess::Limits::default();
        let prepared = image.prepare(&preprocessing(2), &limits).unwrap();
        let Frame::Pixels(pixels) = prepared.frame else {
            panic!("planes");
        };
        assert_eq!(&pixels[..], [value; 12]);
        (pixels.as_ptr() == at, prepared.crop)
    };
    let (same, crop) = grey([2, 2], 7);
    assert!(same);
    assert_eq!((crop.photo, crop.width), ([2, 2], 2.0));
    let (same, crop) = grey([4, 8], 9);
    assert!(!same);
    assert_eq!((crop.photo, crop.x, crop.width), ([8, 4], 2.0, 4.0));
}

#[test]
fn pixels_with_the_channels_first_are_interleaved() {
    let planes = Bytes::from_static(&[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
    let image = PixelImage::new([2, 2], Layout::ChannelsFirst, planes, share(1 << 20));
    let limits = preprocess::Limits::default();
    let prepared = image.prepare(&preprocessing(2), &limits).unwrap();
    let Frame::Pixels(pixels) = prepared.frame else {
        panic!("planes");
    };
    assert_eq!(&pixels[..], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
}

#[test]
fn wrong_sizes_values_and_memory_are_errors() {
    let format = |range| FloatFormat {
        element: Element::F32,
        layout: Layout::ChannelsFirst,
        range,
    };
    let normalised = format(FloatRange::Normalised);
    let twelve = floats(Element::F32);
    let size = |result: Result<Prepared, Error>| match result {
        Err(Error::InputSize { found, .. }) => found,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert_eq!(size(prepare([2, 2], normalised, &twelve[4..])), 11);
    assert_eq!(
        size(prepare([1, 4], normalised, &twelve)),
        12,
        "not resized"
    );
    let mut nan = twelve.clone();
    nan[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    for range in [FloatRange::Normalised, FloatRange::Unit] {
        let found = prepare([2, 2], format(range), &nan);
        assert!(matches!(found, Err(Error::InputValues(_))));
    }
    let none = FloatImage::new([2, 2], normalised, twelve.into(), share(47));
    let found = none.prepare(&preprocessing(2), &preprocess::Limits::default());
    assert!(matches!(found, Err(Error::BodyMemory { .. })));
}
