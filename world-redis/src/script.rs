//! The scripts: each looks at everything before it writes anything, since Redis undoes nothing.

use std::sync::LazyLock;

/// A script, and the name the server knows it by.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) code: &'static str,
    pub(crate) sha: String,
}

macro_rules! scripts {
    ($($name:ident: $file:literal),* $(,)?) => {$(
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            let code = concat!(include_str!("lua/state.lua"), "\n", include_str!($file));
            Script { code, sha: redis::Script::new(code).get_hash().to_owned() }
        });
    )*};
}

scripts! {
    APPEND: "lua/append.lua",
    APPEND_STREAM: "lua/append_stream.lua",
    APPEND_TOKEN: "lua/append_token.lua",
    CLAIM: "lua/claim.lua",
    CREATE: "lua/create.lua",
    DELETE_RUN: "lua/delete_run.lua",
    DELETE_TOKEN: "lua/delete_token.lua",
    LIST: "lua/list.lua",
    OPEN: "lua/open.lua",
    READ: "lua/read.lua",
    REMOVED: "lua/removed.lua",
    RENEW: "lua/renew.lua",
    RETIRED: "lua/retired.lua",
}

/// A script, its keys (all of one shard) and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) script: &'static Script,
    pub(crate) keys: Vec<Vec<u8>>,
    pub(crate) args: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(script: &'static Script, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self { script, keys: keys.into_iter().collect(), args: Vec::new() }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(arg.as_ref().to_vec());
        self
    }

    pub(crate) fn args<T: AsRef<[u8]>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_vec()));
        self
    }

    /// As a command that names the script.
    pub(crate) fn command(&self) -> redis::Cmd {
        self.command_of("EVALSHA", &self.script.sha)
    }

    /// As a command that holds the script, which the server knows from then on.
    pub(crate) fn whole_command(&self) -> redis::Cmd {
        self.command_of("EVAL", self.script.code)
    }

    fn command_of(&self, name: &str, script: &str) -> redis::Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        for part in self.keys.iter().chain(&self.args) {
            command.arg(part.as_slice());
        }
        command
    }
}
