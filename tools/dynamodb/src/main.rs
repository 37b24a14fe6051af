//! A DynamoDB server for the tests: `dynamodb-server [--port N] [--file PATH]`.
//!
//! It listens on the loopback, by default on a port that is free, and prints the port. It ends when
//! its standard input is closed, and so with whoever has started it. Without a file it keeps all in
//! memory.

use std::{error::Error, io::Write, path::PathBuf};

use dynoxide::{Database, server};
use tokio::{io::AsyncReadExt, net::TcpListener};

#[derive(Default)]
struct Asked {
    port: u16,
    file: Option<PathBuf>,
}

impl Asked {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut asked = Self::default();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            match word.as_str() {
                "--port" => asked.port = value.parse()?,
                "--file" => asked.file = Some(value.into()),
                _ => return Err(format!("{word}: there are --port and --file").into()),
            }
        }
        Ok(asked)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let asked = Asked::read(std::env::args().skip(1))?;
    let database = match &asked.file {
        Some(file) => Database::new(file.to_str().ok_or("a path that is no text")?)?,
        None => Database::memory()?,
    };
    let listener = TcpListener::bind(("127.0.0.1", asked.port)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    tokio::select! {
        () = server::serve_on(listener, database) => {}
        () = input_closed() => {}
    }
    // Threads that still serve somebody are not waited for.
    std::process::exit(0)
}

async fn input_closed() {
    let (mut input, mut scratch) = (tokio::io::stdin(), [0; 256]);
    while input.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
}
