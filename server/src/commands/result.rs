//! The result of a file as text: lines of a table, a JSON object, or lines of
//! CSV.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::commands::pipeline::FileError;
use crate::core::answer::{Answer, Prediction};

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Lines for people.
    Table,
    /// One JSON object for each file.
    Json,
    /// A line for each class, or for a file that failed.
    Csv,
}

/// The name of a file. A name that is not UTF-8 is shown with replacement
/// characters, and its bytes follow as base64.
#[derive(Clone, Debug, Serialize)]
pub struct FileName<'a> {
    file: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_base64: Option<String>,
}

impl<'a> FileName<'a> {
    /// The name of this file.
    #[must_use]
    pub fn new(file: &'a Path) -> Self {
        let bytes = file.as_os_str().as_bytes();
        Self {
            file: file.to_string_lossy(),
            file_base64: file.to_str().is_none().then(|| STANDARD.encode(bytes)),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file
    }
}

/// A JSON line.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    file: FileName<'a>,
    #[serde(flatten)]
    answer: Option<Answer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

type Result<'a> = std::result::Result<Answer<'a>, FileError>;

impl Format {
    /// What is printed before the first result.
    #[must_use]
    pub fn head(self) -> &'static str {
        match self {
            Self::Csv => "file,rank,index,wnid,label,probability,value,error\n",
            Self::Table | Self::Json => "",
        }
    }

    /// The lines of one file, best class first.
    #[must_use]
    pub fn text(self, file: &Path, result: Result) -> String {
        match self {
            Self::Table => table(file, result),
            Self::Json => json(file, result),
            Self::Csv => csv(file, result),
        }
    }
}

fn json(file: &Path, result: Result) -> String {
    let (answer, error) = match result {
        Ok(answer) => (Some(answer), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let line = Line {
        file: FileName::new(file),
        answer,
        error,
    };
    // Strings and numbers can always be written as JSON.
    serde_json::to_string(&line).map_or_else(|_| "{}\n".to_owned(), |line| line + "\n")
}

fn csv(file: &Path, result: Result) -> String {
    let name = file.to_string_lossy();
    let mut lines = csv::Writer::from_writer(Vec::new());
    let mut add = |fields: [&str; 8]| {
        // Writing to memory does not fail.
        let _ = lines.write_record(fields);
    };
    match result {
        Ok(answer) => {
            for (rank, p) in (1..).zip(&answer.predictions) {
                let numbers = [rank, p.index].map(|number: usize| number.to_string());
                let decimals = |number: f64| format!("{number:.6}");
                let probability = p.probability.map_or(String::new(), decimals);
                let value = p.value.map_or(String::new(), decimals);
                let wnid = p.wnid.unwrap_or_default();
                let [rank, index] = &numbers;
                add([&name, rank, index, wnid, p.label, &probability, &value, ""]);
            }
        }
        Err(error) => add([&name, "", "", "", "", "", "", &error.to_string()]),
    }
    String::from_utf8(lines.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn table(file: &Path, answer: Result) -> String {
    let mut text = format!("{}\n", file.display());
    match answer {
        Ok(answer) => {
            answer.predictions.iter().for_each(|p| text += &row(p));
            for label in answer.labels.iter().flatten() {
                let percent = 100.0 * label.probability;
                text += &format!("  {percent:6.2} %  is {}\n", label.name);
            }
            if let Some(Some(category)) = answer.category {
                let percent = 100.0 * category.probability;
                text += &format!("  {percent:6.2} %  category: {}\n", category.name);
            }
        }
        Err(error) => text += &format!("  failed: {error}\n"),
    }
    text
}

fn row(prediction: &Prediction) -> String {
    let value = match (prediction.probability, prediction.value) {
        (Some(probability), _) => format!("{:6.2} %", 100.0 * probability),
        (None, value) => format!("{:8.4}", value.unwrap_or_default()),
    };
    let wnid = prediction.wnid.unwrap_or("");
    format!("  {value}  {:<32} {wnid}\n", prediction.label)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use weights::Activation;

    use super::*;

    fn failed() -> Result<'static> {
        Err(FileError::Read(std::io::Error::other("no, \"never\"")))
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_still_a_json_line() {
        let file = Path::new(OsStr::from_bytes(b"a\xe4,b.jpg"));
        let line = Format::Json.text(file, failed());
        let json: serde_json::Value =
            serde_json::from_str(line.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(json["file"], "a\u{fffd},b.jpg");
        assert_eq!(json["file_base64"], "YeQsYi5qcGc=");
        let plain = Format::Json.text(Path::new("b.jpg"), failed());
        assert!(
            plain.starts_with("{\"file\":\"b.jpg\",\"error\":"),
            "{plain}"
        );
    }

    #[test]
    fn csv_has_as_many_fields_as_its_head_and_quotes_them() {
        let answer = Answer {
            activation: Activation::Softmax,
            predictions: vec![Prediction {
                index: 7,
                wnid: None,
                label: "bird, \"black\"",
                probability: Some(0.25),
                value: None,
            }],
            category: None,
            labels: None,
            top_k: None,
        };
        let file = Path::new("a,b.jpg");
        let text = [
            Format::Csv.head(),
            &Format::Csv.text(file, Ok(answer)),
            &Format::Csv.text(file, failed()),
        ]
        .concat();
        let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(text.as_bytes())
            .records()
            .map(|row| row.unwrap())
            .collect();
        let fields: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().collect()).collect();
        let read = "the file cannot be read: no, \"never\"";
        assert_eq!(
            fields,
            [
                [
                    "a,b.jpg",
                    "1",
                    "7",
                    "",
                    "bird, \"black\"",
                    "0.250000",
                    "",
                    ""
                ],
                ["a,b.jpg", "", "", "", "", "", "", read],
            ]
        );
    }
}
