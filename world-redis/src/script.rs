//! The scripts: each looks at everything before it writes anything, since Redis undoes nothing.

use std::sync::LazyLock;

/// A script, and the name the server knows it by.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) code: &'static str,
    pub(crate) sha: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, sha: redis::Script::new(code).get_hash().to_owned() }
    }
}

macro_rules! scripts {
    ($($name:ident: $file:literal),* $(,)?) => {$(
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("lua/state.lua"), "\n", include_str!($file)))
        });
    )*};
}

/// Stands alone: the functions of the others take their time even where they are not called.
pub(crate) static APPEND_OWN: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("lua/append_own.lua")));

scripts! {
    APPEND: "lua/append.lua",
    APPEND_STREAM: "lua/append_stream.lua",
    APPEND_TOKEN: "lua/append_token.lua",
    CLAIM: "lua/claim.lua",
    CREATE: "lua/create.lua",
    DELETE_RUN: "lua/delete_run.lua",
    DELETE_TOKEN: "lua/delete_token.lua",
    LIST: "lua/list.lua",
    LOOK: "lua/look.lua",
    OPEN: "lua/open.lua",
    READ: "lua/read.lua",
    REMOVED: "lua/removed.lua",
    RENEW: "lua/renew.lua",
    RETIRED: "lua/retired.lua",
}

/// A script with its keys (all of one shard) and its arguments, as the command that runs it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) script: &'static Script,
    /// One of its keys, which says where it runs.
    pub(crate) key: Vec<u8>,
    pub(crate) command: redis::Cmd,
}

impl Call {
    pub(crate) fn new(script: &'static Script, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let keys: Vec<Vec<u8>> = keys.into_iter().collect();
        let mut command = redis::cmd("EVALSHA");
        command.arg(&script.sha).arg(keys.len()).arg(&keys);
        Self { script, key: keys.into_iter().next().unwrap_or_default(), command }
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.command.arg(arg.as_ref());
        self
    }

    pub(crate) fn args<T: AsRef<[u8]>>(self, args: impl IntoIterator<Item = T>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// The command that holds the script, which the server knows from then on.
    pub(crate) fn whole(&self) -> redis::Cmd {
        let mut whole = redis::cmd("EVAL");
        whole.arg(self.script.code);
        for arg in self.command.args_iter().skip(2) {
            if let redis::Arg::Simple(arg) = arg {
                whole.arg(arg);
            }
        }
        whole
    }
}
