//! Which program is the server.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The server that `tools/redis-server` finds: Redis 6.2 or newer, or Valkey.
///
/// # Errors
/// There is none, and what to do about it. Nothing is fetched here; `tools/redis-server` does that.
pub fn server_program() -> io::Result<PathBuf> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| find().map_err(|error| error.to_string()));
    found.clone().map_err(io::Error::other)
}

fn find() -> io::Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let said = Command::new("tools/redis-server").arg("--find").current_dir(root).output()?;
    if !said.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&said.stderr).trim()));
    }
    Ok(PathBuf::from(String::from_utf8_lossy(&said.stdout).trim_end()))
}

/// Whether the server is Redis 7.0 or newer, or a Valkey.
pub(crate) fn is_7_or_newer(program: &Path) -> io::Result<bool> {
    let said = Command::new(program).arg("--version").output()?.stdout;
    let said = String::from_utf8_lossy(&said);
    let major = said.split_once(" v=").and_then(|(_, version)| version.split('.').next());
    Ok(major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|major| major >= 7))
}
