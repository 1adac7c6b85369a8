//! Loads a .gguf file and streams an answer, in this process.
//!
//! `cargo run --release --example stream -- model.gguf "Once upon a time"`

use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("give a .gguf file")?;
    let mut model = ingle::Model::open(path, &ingle::Options::default())?;
    let prompt = model.encode(&arguments.next().unwrap_or_default());
    for event in model.generate(ingle::Request {
        max_tokens: Some(100),
        ..ingle::Request::new(prompt)
    })? {
        print!("{}", event.text());
        std::io::stdout().flush()?;
    }
    Ok(())
}
