//! Writes the Rust types of the `.proto` files, and their descriptors for
//! reflection, to `../generated`, whose `mod.rs` has a module for each package. With
//! `--check` it only says whether they are current. It needs no protoc.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use prost::Message;

const FILES: [&str; 6] = [
    "health.proto",
    "inference.proto",
    "tensorflow.proto",
    "tensorflow_serving.proto",
    "torchserve_inference.proto",
    "torchserve_management.proto",
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let check = std::env::args().any(|argument| argument == "--check");
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let committed = protos.join("generated");
    let target = match check {
        true => std::env::temp_dir().join(format!("protos-{}", std::process::id())),
        false => committed.clone(),
    };
    fs::create_dir_all(&target)?;
    let descriptors = protox::compile(FILES, [&protos])?;
    fs::write(target.join("descriptors.bin"), descriptors.encode_to_vec())?;
    prost_build::Config::new()
        .bytes(["."])
        .out_dir(&target)
        .include_file("mod.rs")
        .compile_fds(descriptors)?;
    if !check {
        return Ok(ExitCode::SUCCESS);
    }
    let mut current = true;
    for entry in fs::read_dir(&target)? {
        let written = entry?;
        let name = written.file_name();
        if fs::read(written.path())? != fs::read(committed.join(&name)).unwrap_or_default() {
            eprintln!("{} is not current: run `make protos`", name.display());
            current = false;
        }
    }
    fs::remove_dir_all(&target)?;
    Ok(match current {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
