//! Which program is the server.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The server that `tools/dynamodb-server` has built.
///
/// # Errors
/// There is none, and what to do about it. Nothing is built here; `tools/dynamodb-server` does that.
pub fn server_program() -> io::Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find().map_err(|error| error.to_string()));
    found.clone().map_err(io::Error::other)
}

fn find() -> io::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let said = Command::new("tools/dynamodb-server").arg("--find").current_dir(root).output()?;
    if !said.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&said.stderr).trim()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&said.stdout).trim_end()))
}
