//! Matrices of f32 in the format of `NumPy`: a magic number, a Python dictionary
//! with type and shape, and the values (`numpy.lib.format`, version 1.0).

const MAGIC: &[u8] = b"\x93NUMPY";

/// The header is padded so that the values start at a multiple of this.
const ALIGNMENT: usize = 64;

/// A matrix, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Values in a row.
    pub columns: usize,
    /// `[rows, columns]`.
    pub values: Vec<f32>,
}

/// Why bytes are not a matrix that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NpyError {
    /// Another format, or a damaged file.
    #[error("it is not a .npy file: its header cannot be read")]
    Header,
    /// Another data type or number of dimensions.
    #[error(
        "its header is {0}; expected little-endian f32 in two dimensions, row by row, as \
         `resnet embed` and numpy.save(array.astype('<f4')) write it"
    )]
    Layout(String),
    /// Fewer or more values than the shape has.
    #[error("it has {found} bytes of values; its shape needs {expected}")]
    Length {
        /// Bytes after the header.
        found: usize,
        /// Bytes of the shape.
        expected: usize,
    },
}

/// The bytes before the values of a matrix.
#[must_use]
pub fn header(rows: usize, columns: usize) -> Vec<u8> {
    let dictionary =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // magic, version, length, dictionary, newline
    let length = (MAGIC.len() + 4 + dictionary.len() + 1).next_multiple_of(ALIGNMENT);
    let padded = length - MAGIC.len() - 4;
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((padded as u16).to_le_bytes());
    bytes.extend(format!("{dictionary:<width$}\n", width = padded - 1).bytes());
    bytes
}

/// Values as little-endian f32.
#[must_use]
pub fn little_endian(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

impl Matrix {
    /// Parses the content of a file.
    ///
    /// # Errors
    /// Another format, type, shape or length.
    pub fn parse(bytes: &[u8]) -> Result<Self, NpyError> {
        let (header, values) = split(bytes).ok_or(NpyError::Header)?;
        let layout = || NpyError::Layout(header.trim().to_owned());
        let without_spaces: String = header.split_whitespace().collect();
        let is = |entry| without_spaces.contains(entry);
        if !is("'descr':'<f4'") || !is("'fortran_order':False") {
            return Err(layout());
        }
        let shape = without_spaces.split_once("'shape':(");
        let shape = shape.and_then(|(_, rest)| Some(rest.split_once(')')?.0));
        let lengths: Option<Vec<usize>> = shape
            .into_iter()
            .flat_map(|shape| shape.split(','))
            .map(|length| length.parse().ok())
            .collect();
        let Some([rows, columns]) = lengths.as_deref() else {
            return Err(layout());
        };
        let (rows, columns) = (*rows, *columns);
        let expected = rows.checked_mul(columns).and_then(|n| n.checked_mul(4));
        match expected {
            Some(expected) if expected == values.len() => Ok(Self {
                rows,
                columns,
                values: values
                    .as_chunks()
                    .0
                    .iter()
                    .map(|&value| f32::from_le_bytes(value))
                    .collect(),
            }),
            _ => Err(NpyError::Length {
                found: values.len(),
                expected: expected.unwrap_or(usize::MAX),
            }),
        }
    }
}

/// The dictionary and the values of a file of any version.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (&[major, _], rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = if major == 1 {
        let (&length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(length)), rest)
    } else {
        let (&length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(length) as usize, rest)
    };
    let (header, values) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_numpy() {
        // numpy.save of numpy.zeros((2, 3), "<f4"), numpy 2.4
        let mut expected = b"\x93NUMPY\x01\0v\0".to_vec();
        expected.extend(b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }");
        expected.resize(127, b' ');
        expected.push(b'\n');
        assert_eq!(header(2, 3), expected);
    }

    #[test]
    fn a_matrix_is_read_as_it_was_written() {
        let values = vec![1.0, -2.5, f32::MIN_POSITIVE, 4.0, 0.1, 1e30];
        let mut file = header(3, 2);
        file.extend(little_endian(&values));
        let matrix = Matrix::parse(&file).unwrap();
        let expected = Matrix {
            rows: 3,
            columns: 2,
            values,
        };
        assert_eq!(matrix, expected);
        assert_eq!(
            Matrix::parse(&file[..file.len() - 1]),
            Err(NpyError::Length {
                found: 23,
                expected: 24
            })
        );
    }

    #[test]
    fn other_files_are_refused_with_the_reason() {
        assert_eq!(Matrix::parse(b"PK\x03\x04"), Err(NpyError::Header));
        assert_eq!(Matrix::parse(&header(1, 1)[..20]), Err(NpyError::Header));
        for (from, to) in [("<f4", "<f8"), ("(2, 3)", "(2,)  "), ("False", "True ")] {
            let text = String::from_utf8_lossy(&header(2, 3)[10..]).replace(from, to);
            let file = [&header(2, 3)[..10], text.as_bytes()].concat();
            let error = Matrix::parse(&file).unwrap_err();
            assert!(matches!(error, NpyError::Layout(_)), "{to}: {error}");
        }
    }
}
