//! The configuration file of `resnet serve`.

use std::fs;

use clap::Parser;
use resnet_fuzz::measured::{Bounds, within};
use resnet_server::config::serve::ServeFlags;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    serve: ServeFlags,
}

/// Reads `bytes` as a configuration file. The text of each error is bounded.
pub fn read(bytes: &[u8]) {
    let path = std::env::temp_dir().join(format!("resnet-fuzz-{}.toml", std::process::id()));
    fs::write(&path, bytes).expect("the temporary folder is writable");
    let flags = ["resnet", "--config", &path.display().to_string()];
    let flags = Command::parse_from(flags).serve;
    let bounds = Bounds {
        bytes: (4 << 20) + 256 * bytes.len(),
        seconds: 5.0,
    };
    let result = within(&bounds, || flags.check());
    if let Err(errors) = result {
        for error in errors.iter() {
            let text = error.to_string();
            assert!(text.len() < 4096 + 4 * bytes.len(), "{text}");
        }
    }
}
