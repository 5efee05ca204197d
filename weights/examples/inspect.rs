//! Prints the metadata and the tensors of a checkpoint:
//!
//! ```text
//! cargo run -p resnet-weights --example inspect -- timm/resnet18.a1_in1k
//! ```

use resnet_weights::{DEFAULT_NAME, Hub, Result, Source};

fn main() -> Result<()> {
    let name = std::env::args().nth(1);
    let source = Source::parse(name.as_deref().unwrap_or(DEFAULT_NAME))?;
    let checkpoint = source.open(&Hub::from_env(), &mut |progress| {
        eprint!(
            "\r{}: {} of {} bytes",
            progress.file, progress.done, progress.total
        );
    })?;
    let metadata = checkpoint.metadata();
    println!("name           {}", checkpoint.name());
    println!("SHA-256        {}", checkpoint.digest());
    println!("architecture   {:?}", metadata.architecture);
    println!("preprocessing  {:?}", metadata.preprocessing);
    println!(
        "labels         {:?}",
        metadata.labels.as_ref().map(|labels| labels.len())
    );
    for (name, shape) in checkpoint.tensors() {
        println!("{name:<40} {shape:?}");
    }
    Ok(())
}
