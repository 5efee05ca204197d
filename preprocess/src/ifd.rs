//! Directories of TIFF (TIFF 6.0, section 2, and BigTIFF), which EXIF uses as
//! well. Values are read where they are in the file; nothing is allocated for a
//! count that the file only claims.

/// The byte order of a TIFF file or an EXIF block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    /// "II".
    Little,
    /// "MM".
    Big,
}

impl ByteOrder {
    /// An unsigned integer of up to 8 bytes.
    pub(crate) fn uint(self, bytes: &[u8]) -> u64 {
        let push = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        match self {
            Self::Little => bytes.iter().rev().fold(0, push),
            Self::Big => bytes.iter().fold(0, push),
        }
    }
}

/// A file or block that starts with a TIFF header.
#[derive(Clone, Copy)]
pub(crate) struct TiffFile<'a> {
    /// All of it; offsets count from its start.
    pub bytes: &'a [u8],
    /// The byte order of all numbers.
    pub order: ByteOrder,
    is_big: bool,
    first: u64,
}

/// A directory: the tags of one image.
#[derive(Clone, Copy)]
pub(crate) struct Directory<'a> {
    file: TiffFile<'a>,
    /// 12 bytes per entry, or 20 in BigTIFF.
    entries: &'a [u8],
    /// The offset of the next directory; 0 if there is none.
    pub next: u64,
}

/// The values of a tag.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    order: ByteOrder,
    kind: u64,
    bytes: &'a [u8],
}

impl<'a> TiffFile<'a> {
    /// Reads the header. `None` if it is not that of a TIFF.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let order = match bytes.get(..2)? {
            b"II" => ByteOrder::Little,
            b"MM" => ByteOrder::Big,
            _ => return None,
        };
        // Some writers store the version in the other byte order; Pillow accepts that too.
        let is_big = match bytes.get(2..4)? {
            [42, 0] | [0, 42] => false,
            [43, 0] | [0, 43] => true,
            _ => return None,
        };
        let first = bytes.get(if is_big { 8..16 } else { 4..8 })?;
        Some(Self {
            bytes,
            order,
            is_big,
            first: order.uint(first),
        })
    }

    /// The directory of the first image.
    pub(crate) fn first_directory(&self) -> Option<Directory<'a>> {
        self.directory(self.first)
    }

    /// The directory at `offset`. If the file ends inside it, the entries that are
    /// there.
    pub(crate) fn directory(&self, offset: u64) -> Option<Directory<'a>> {
        let rest = self.bytes.get(usize::try_from(offset).ok()?..)?;
        let (count_size, entry_size) = if self.is_big { (8, 20) } else { (2, 12) };
        let count = self.order.uint(rest.get(..count_size)?);
        let rest = &rest[count_size..];
        let length = usize::try_from(count).ok()?.saturating_mul(entry_size);
        let whole = rest.len() - rest.len() % entry_size;
        let entries = &rest[..length.min(whole)];
        let next = rest.get(entries.len()..entries.len() + if self.is_big { 8 } else { 4 });
        Some(Directory {
            file: *self,
            entries,
            next: next.map_or(0, |bytes| self.order.uint(bytes)),
        })
    }
}

impl<'a> Directory<'a> {
    /// The values of all entries with this tag, in the order of the file. Values
    /// outside the file are left out.
    pub(crate) fn all(&self, tag: u16) -> impl Iterator<Item = Values<'a>> + use<'a> {
        let file = self.file;
        let size = if file.is_big { 20 } else { 12 };
        self.entries
            .chunks_exact(size)
            .filter(move |entry| file.order.uint(&entry[..2]) == u64::from(tag))
            .filter_map(move |entry| Values::new(file, entry))
    }

    /// The values of the first entry with this tag that has any.
    pub(crate) fn get(&self, tag: u16) -> Option<Values<'a>> {
        self.all(tag).find(|values| values.count() > 0)
    }

    /// The first value of a tag as an integer.
    pub(crate) fn uint(&self, tag: u16) -> Option<u64> {
        self.get(tag)?.uint(0)
    }
}

impl<'a> Values<'a> {
    fn new(file: TiffFile<'a>, entry: &'a [u8]) -> Option<Self> {
        let kind = file.order.uint(&entry[2..4]);
        let (count, field) = entry[4..].split_at(if file.is_big { 8 } else { 4 });
        let count = usize::try_from(file.order.uint(count)).ok()?;
        let length = count.checked_mul(size_of_kind(kind)?)?;
        let bytes = if length <= field.len() {
            &field[..length]
        } else {
            let offset = usize::try_from(file.order.uint(field)).ok()?;
            file.bytes.get(offset..)?.get(..length)?
        };
        Some(Self {
            order: file.order,
            kind,
            bytes,
        })
    }

    /// The number of values.
    pub(crate) fn count(&self) -> usize {
        self.bytes.len() / size_of_kind(self.kind).unwrap_or(1)
    }

    /// The bytes of all values.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the values are bytes or characters rather than numbers.
    pub(crate) fn is_bytes(&self) -> bool {
        matches!(self.kind, 1 | 2 | 7)
    }

    /// A value as an integer. `None` beyond the last one, and for other types.
    pub(crate) fn uint(&self, at: usize) -> Option<u64> {
        let value = self.order.uint(self.value(at)?);
        match self.kind {
            1 | 3 | 4 | 13 | 16 | 18 => Some(value),
            // Signed types: only values from 0 up are integers that a tag can have.
            6 => i8::try_from(value).ok().map(|v| v as u64),
            8 => i16::try_from(value).ok().map(|v| v as u64),
            9 => i32::try_from(value).ok().map(|v| v as u64),
            17 => i64::try_from(value).ok().map(|v| v as u64),
            _ => None,
        }
    }

    /// A value as a number; also rationals and floats.
    pub(crate) fn number(&self, at: usize) -> Option<f64> {
        let bytes = self.value(at)?;
        match self.kind {
            5 | 10 => {
                let [numerator, denominator] = [&bytes[..4], &bytes[4..]].map(|half| {
                    let half = self.order.uint(half) as u32;
                    match self.kind {
                        5 => f64::from(half),
                        _ => f64::from(half as i32),
                    }
                });
                Some(numerator / denominator).filter(|value| value.is_finite())
            }
            11 => Some(f32::from_bits(self.order.uint(bytes) as u32).into()),
            12 => Some(f64::from_bits(self.order.uint(bytes))),
            _ => self.uint(at).map(|value| value as f64),
        }
    }

    fn value(&self, at: usize) -> Option<&'a [u8]> {
        let size = size_of_kind(self.kind)?;
        self.bytes.get(at.checked_mul(size)?..)?.get(..size)
    }
}

/// Bytes per value of a field type.
fn size_of_kind(kind: u64) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16..=18 => Some(8),
        _ => None,
    }
}
