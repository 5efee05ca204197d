//! Builders of pickles and zip archives that are invalid in one place.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The first bytes of a file in the format before PyTorch 1.6.
pub(crate) const MAGIC: [u8; 15] = *b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19\x2e";

/// A state dict with one tensor, `fc.bias`.
#[derive(Clone, Copy)]
pub(crate) struct Tensor {
    pub(crate) class: &'static str,
    pub(crate) key: &'static str,
    pub(crate) elements: i64,
    pub(crate) offset: i64,
    pub(crate) shape: &'static [i64],
    pub(crate) strides: &'static [i64],
}

/// A valid one: two f32.
pub(crate) const TENSOR: Tensor = Tensor {
    class: "FloatStorage",
    key: "0",
    elements: 2,
    offset: 0,
    shape: &[2],
    strides: &[1],
};

pub(crate) fn valid() -> Tensor {
    TENSOR
}

impl Tensor {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let sizes = |sizes: &[i64]| {
            [
                b"(".to_vec(),
                sizes.iter().flat_map(|n| op::int(*n)).collect(),
                b"t".to_vec(),
            ]
            .concat()
        };
        let class = format!("ctorch\n{}\n", self.class);
        let identity = [
            op::text("storage"),
            class.into(),
            op::text(self.key),
            op::text("cpu"),
            op::int(self.elements),
        ];
        let arguments = [
            b"((".to_vec(),
            identity.concat(),
            b"tQ".to_vec(),
            op::int(self.offset),
            sizes(self.shape),
            sizes(self.strides),
            b"\x89Nt".to_vec(),
        ];
        op::tensor_of(&arguments.concat())
    }

    /// An archive with this tensor.
    pub(crate) fn zip(self) -> Zip {
        Zip::default()
            .entry("archive/data.pkl", &self.bytes())
            .entry("archive/data/0", &[0; 8])
    }
}

/// An archive with this pickle and one storage of eight bytes.
pub(crate) fn archive(pickle: &[u8]) -> Vec<u8> {
    Zip::default()
        .entry("archive/data.pkl", pickle)
        .entry("archive/data/0", &[0; 8])
        .bytes()
}

/// Opcodes for single values.
pub(crate) mod op {
    pub(crate) fn text(text: &str) -> Vec<u8> {
        [
            b"X",
            &(text.len() as u32).to_le_bytes()[..],
            text.as_bytes(),
        ]
        .concat()
    }

    pub(crate) fn int(value: i64) -> Vec<u8> {
        [&[0x8a, 8], &value.to_le_bytes()[..]].concat()
    }

    /// A dictionary with the tensor `fc.bias`, created from `arguments`.
    pub(crate) fn tensor_of(arguments: &[u8]) -> Vec<u8> {
        let rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n";
        [
            &b"\x80\x02}"[..],
            &text("fc.bias"),
            rebuild,
            arguments,
            b"Rs.",
        ]
        .concat()
    }
}

/// A zip archive of uncompressed entries.
#[derive(Default)]
pub(crate) struct Zip(Vec<(String, Vec<u8>)>);

impl Zip {
    pub(crate) fn entry(mut self, name: &str, content: &[u8]) -> Self {
        self.0.push((name.into(), content.into()));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, content) in &self.0 {
            zip.start_file(name, stored).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }
}

/// The position of the directory record of entry `name`.
fn record(zip: &[u8], name: &str) -> usize {
    let named = |at: &usize| {
        zip[*at..].starts_with(b"PK\x01\x02") && zip[at + 46..].starts_with(name.as_bytes())
    };
    (0..zip.len()).find(named).unwrap()
}

/// Changes the compression method in the directory.
pub(crate) fn set_method(zip: &mut [u8], name: &str, method: u16) {
    let at = record(zip, name) + 10;
    zip[at..at + 2].copy_from_slice(&method.to_le_bytes());
}

/// Changes the uncompressed size in the directory.
pub(crate) fn set_size(zip: &mut [u8], name: &str, size: u32) {
    let at = record(zip, name) + 24;
    zip[at..at + 4].copy_from_slice(&size.to_le_bytes());
}

/// Changes the position of an entry in the directory.
pub(crate) fn move_entry(zip: &mut [u8], name: &str, offset: u32) {
    let at = record(zip, name) + 42;
    zip[at..at + 4].copy_from_slice(&offset.to_le_bytes());
}
