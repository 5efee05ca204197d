//! Embeddings of image files, and the two files that hold them: a `.npy` matrix
//! and a CSV file with the image of each row.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::commands::images;
use crate::commands::output;
use crate::commands::pipeline::{self, LocalPipeline};
use crate::config::errors::ConfigErrors;
use crate::core::embedding::{OUTPUTS, embedding};
use crate::core::npy::{Matrix, NpyError, header, little_endian};

/// Why a command with embeddings failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags or environment variables are invalid.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// There are no images.
    #[error(transparent)]
    Images(#[from] images::Error),
    /// The model cannot be loaded or run.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A file cannot be read or written.
    #[error("{} cannot be {action}: {source}", path.display())]
    File {
        /// `read` or `written`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The index is not a matrix of embeddings.
    #[error("{} is not an index: {source}", path.display())]
    Index {
        /// The `.npy` file.
        path: PathBuf,
        /// What is wrong with it.
        source: NpyError,
    },
    /// The names of the index cannot be read or written.
    #[error("{} cannot be read or written as CSV: {source}", path.display())]
    Names {
        /// The CSV file.
        path: PathBuf,
        /// The error of the parser.
        source: csv::Error,
    },
    /// The files of an index do not belong together.
    #[error(
        "{} has {rows} rows and {names} names; write both again with `resnet embed`",
        path.display()
    )]
    Rows {
        /// The `.npy` file.
        path: PathBuf,
        /// Rows of the matrix.
        rows: usize,
        /// Lines of the CSV file.
        names: usize,
    },
    /// The index was made with another model.
    #[error(
        "{} has embeddings of {found} values and this model's have {expected}; use the model \
         that the index was made with (--model)",
        path.display()
    )]
    Dimension {
        /// The `.npy` file.
        path: PathBuf,
        /// Columns of the matrix.
        found: usize,
        /// The size of the model's embeddings.
        expected: usize,
    },
    /// Not a single image has an embedding.
    #[error("none of the images can be read")]
    NoEmbedding,
    /// Standard output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// The error of reading or writing a file.
pub(super) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

/// Calls `each` with every file that has an embedding, in order. Warns about the
/// others and returns their number.
///
/// # Errors
/// When the runtime cannot start, or `each` fails.
pub(super) fn embed(
    pipeline: &LocalPipeline,
    files: &[PathBuf],
    normalize: bool,
    mut each: impl FnMut(&Path, Vec<f32>) -> Result<(), Error>,
) -> Result<usize, Error> {
    let size = pipeline.instance().network().info().embedding_size;
    let mut failed = 0;
    let mut result = Ok(());
    pipeline.run(files, OUTPUTS, |path, output, bar| {
        let values = output.and_then(|output| Ok(embedding(output.embedding, size, normalize)?));
        match values {
            Ok(values) if result.is_ok() => result = each(path, values),
            Ok(_) => {}
            Err(error) => {
                failed += 1;
                bar.suspend(|| {
                    output::warn(format_args!("{} is skipped: {error}", path.display()));
                });
            }
        }
    })?;
    result.map(|()| failed)
}

/// A line of the CSV file.
#[derive(Serialize, Deserialize)]
struct Name {
    row: usize,
    file: PathBuf,
}

/// The CSV file beside a `.npy` file.
pub(super) fn names_path(matrix: &Path) -> PathBuf {
    matrix.with_extension("csv")
}

/// Writes both files of an index, row by row.
pub(super) struct IndexWriter {
    path: PathBuf,
    matrix: BufWriter<File>,
    names: csv::Writer<File>,
    rows: usize,
    columns: usize,
}

impl IndexWriter {
    /// Creates the files, or empties them.
    pub(super) fn create(path: &Path, columns: usize) -> Result<Self, Error> {
        let create = |path: &Path| File::create(path).map_err(file_error("written", path));
        let mut matrix = BufWriter::new(create(path)?);
        // The number of rows is written at the end.
        let written = matrix.write_all(&header(0, columns));
        written.map_err(file_error("written", path))?;
        let names = csv::Writer::from_writer(create(&names_path(path))?);
        Ok(Self {
            path: path.to_owned(),
            matrix,
            names,
            rows: 0,
            columns,
        })
    }

    pub(super) fn append(&mut self, file: &Path, embedding: &[f32]) -> Result<(), Error> {
        let written = self.matrix.write_all(&little_endian(embedding));
        written.map_err(file_error("written", &self.path))?;
        let name = Name {
            row: self.rows,
            file: file.to_owned(),
        };
        self.rows += 1;
        self.names.serialize(name).map_err(|source| Error::Names {
            path: names_path(&self.path),
            source,
        })
    }

    /// Writes the number of rows and returns it.
    pub(super) fn finish(mut self) -> Result<usize, Error> {
        let mut finish = || {
            self.names.flush()?;
            self.matrix.seek(SeekFrom::Start(0))?;
            self.matrix.write_all(&header(self.rows, self.columns))?;
            self.matrix.flush()
        };
        finish().map_err(file_error("written", &self.path))?;
        Ok(self.rows)
    }
}

/// Reads the embeddings of an index, and the image of each row.
pub(super) fn read_index(path: &Path) -> Result<(Matrix, Vec<PathBuf>), Error> {
    let bytes = std::fs::read(path).map_err(file_error("read", path))?;
    let matrix = Matrix::parse(&bytes).map_err(|source| Error::Index {
        path: path.to_owned(),
        source,
    })?;
    let csv = names_path(path);
    let read = || {
        let lines = csv::Reader::from_path(&csv)?.into_deserialize();
        lines.collect::<Result<Vec<Name>, csv::Error>>()
    };
    let names = read().map_err(|source| Error::Names {
        path: csv.clone(),
        source,
    })?;
    let in_order = names.iter().enumerate().all(|(at, name)| name.row == at);
    if names.len() != matrix.rows || !in_order {
        return Err(Error::Rows {
            path: path.to_owned(),
            rows: matrix.rows,
            names: names.len(),
        });
    }
    Ok((matrix, names.into_iter().map(|name| name.file).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("features.npy");
        let mut writer = IndexWriter::create(&path, 2).unwrap();
        let files = ["a, \"b\".jpg", "c.png", "d.gif"].map(PathBuf::from);
        for (at, file) in files.iter().enumerate() {
            writer.append(file, &[at as f32, -0.5]).unwrap();
        }
        assert_eq!(writer.finish().unwrap(), 3);
        let (matrix, names) = read_index(&path).unwrap();
        assert_eq!((matrix.rows, matrix.columns), (3, 2));
        assert_eq!(matrix.values, [0.0, -0.5, 1.0, -0.5, 2.0, -0.5]);
        assert_eq!(names, files);
        // the files of two runs
        std::fs::write(names_path(&path), "row,file\n0,a.jpg\n").unwrap();
        let error = read_index(&path).unwrap_err().to_string();
        assert!(error.contains("3 rows and 1 names"), "{error}");
    }
}
