//! Classifies pixels with a checkpoint: prints the five most probable classes.
//!
//! `cargo run --release --package resnet-model --example classify -- MODEL [PIXELS]`
//!
//! MODEL is `resnet50_thin`, a file, a folder or a repository of the Hugging Face
//! Hub. PIXELS is a file of raw RGB bytes, `[S, S, 3]`, S being the input size of
//! the model; without it the image is grey.

use std::error::Error;

use resnet_model::{Model, Options, Outputs, ThreadPool};
use weights::{Hub, Source};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let source = arguments.next().unwrap_or("resnet50_thin".into());
    let checkpoint = Source::parse(&source)?.open(&Hub::from_env(), &mut |_| {})?;
    let pool = ThreadPool::new(std::thread::available_parallelism()?.get())?;
    let model = Model::load(&checkpoint, &Options::default(), &pool)?;

    let side = model.info().input_size;
    let pixels = match arguments.next() {
        Some(file) => std::fs::read(file)?,
        None => vec![128; side * side * 3],
    };
    let logits = model.forward(&[&pixels], Outputs::LOGITS)?.logits;
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    for index in order.into_iter().take(5) {
        let name = model.labels().get(index).map_or("", |label| &label.name);
        println!("{index:5}  {:9.4}  {name}", logits[index]);
    }
    Ok(())
}
