//! A Redis server for the time of a measurement, and the raw script on it.

use std::{
    env,
    ffi::OsString,
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use redis::{
    AsyncConnectionConfig, Client, IntoConnectionInfo, ProtocolVersion, aio::MultiplexedConnection,
    io::tcp::TcpSettings,
};

use crate::args::Aof;

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(20);
/// How often it is asked.
const ASK_EVERY: Duration = Duration::from_millis(10);
/// An answer that takes longer is an error.
const ANSWER: Duration = Duration::from_secs(30);

/// A server of our own, which ends with this value.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
}

/// The server's program: what TEST_REDIS_SERVER names, or what is installed.
pub(crate) fn program() -> Option<OsString> {
    let named = env::var_os("TEST_REDIS_SERVER").filter(|name| !name.is_empty());
    named.or_else(|| {
        let path = env::var_os("PATH")?;
        let names = ["redis-server", "valkey-server"];
        let mut places =
            env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)).into_iter());
        places.find(|place| place.is_file()).map(Into::into)
    })
}

impl Server {
    /// Starts one that keeps its files here, and waits until it answers.
    pub(crate) fn start(dir: &Path, aof: Aof) -> Result<Self> {
        let program = program().context(
            "no Redis server: install redis-server or valkey-server, name one in \
             TEST_REDIS_SERVER, or give the URL of one that runs with --redis",
        )?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let (append_only, fsync) = match aof {
            Aof::Off => ("no", "everysec"),
            Aof::Everysec => ("yes", "everysec"),
            Aof::Always => ("yes", "always"),
        };
        let log = File::create(dir.join("server.log"))?;
        let child = Command::new(&program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", append_only, "--appendfsync", fsync])
            // Nothing else is to begin in the middle of a measurement.
            .args(["--auto-aof-rewrite-percentage", "0"])
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .with_context(|| format!("{} does not start", program.display()))?;
        let mut server = Self { child, url: format!("redis://127.0.0.1:{port}/0") };
        let deadline = Instant::now() + START;
        while !server.answers() {
            ensure!(server.child.try_wait()?.is_none(), "the Redis server ended: see its log");
            ensure!(Instant::now() < deadline, "the Redis server does not answer");
            std::thread::sleep(ASK_EVERY);
        }
        Ok(server)
    }

    fn answers(&self) -> bool {
        let connection = Client::open(self.url.as_str()).and_then(|one| one.get_connection());
        connection.is_ok_and(|mut one| redis::cmd("PING").exec(&mut one).is_ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Refuses a database in which somebody keeps something, since measurements empty it.
pub(crate) fn ensure_empty(url: &str) -> Result<()> {
    let mut connection = Client::open(url)?.get_connection()?;
    let keys: u64 = redis::cmd("DBSIZE").query(&mut connection)?;
    ensure!(keys == 0, "the database has {keys} keys, and would be emptied: give an empty one");
    Ok(())
}

/// Removes what a measurement has left.
pub(crate) fn empty(url: &str) -> Result<()> {
    let mut connection = Client::open(url)?.get_connection()?;
    Ok(redis::cmd("FLUSHDB").arg("SYNC").exec(&mut connection)?)
}

// ---- the raw script ----

/// A fenced step: the caller's token must be the current one, else nothing is written.
const STEP: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
redis.call('XADD', KEYS[1], '*', 's', ARGV[2], 'v', ARGV[3])
return tonumber(ARGV[2])";

/// The same of many steps.
const STEPS: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return -1 end
for i = 3, #ARGV do redis.call('XADD', KEYS[1], '*', 's', ARGV[2] + i - 3, 'v', ARGV[i]) end
return tonumber(ARGV[2])";

const TOKEN: &str = "7";
/// The records that one XRANGE gives.
const PAGE: usize = 1000;

/// A connection as the World makes its own, on which the script is known.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    connection: MultiplexedConnection,
    step: Arc<str>,
    steps: Arc<str>,
}

impl Raw {
    pub(crate) async fn connect(url: &str) -> Result<Self> {
        let info = url.into_connection_info()?;
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let info = info
            .set_redis_settings(settings)
            .set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let client = Client::open(info)?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut load = async |code| {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(code).query_async::<String>(&mut connection).await
        };
        let (step, steps) = (load(STEP).await?.into(), load(STEPS).await?.into());
        Ok(Self { connection, step, steps })
    }

    /// Makes a run's token the current one.
    pub(crate) async fn begin(&mut self, run: &str) -> Result<()> {
        let mut set = redis::cmd("SET");
        set.arg(format!("{{{run}}}:t")).arg(TOKEN);
        Ok(set.exec_async(&mut self.connection).await?)
    }

    pub(crate) async fn step(&mut self, run: &str, step: usize, body: &[u8]) -> Result<()> {
        let sha = Arc::clone(&self.step);
        self.eval(&sha, run, step, std::slice::from_ref(&body)).await
    }

    /// Many steps, the first of which is the `step`th, by one script.
    pub(crate) async fn steps(&mut self, run: &str, step: usize, bodies: &[Vec<u8>]) -> Result<()> {
        let sha = Arc::clone(&self.steps);
        self.eval(&sha, run, step, bodies).await
    }

    async fn eval(
        &mut self,
        sha: &str,
        run: &str,
        step: usize,
        bodies: &[impl AsRef<[u8]>],
    ) -> Result<()> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(sha).arg(2).arg(format!("{{{run}}}:h")).arg(format!("{{{run}}}:t"));
        command.arg(TOKEN).arg(step);
        for body in bodies {
            command.arg(body.as_ref());
        }
        let answer: i64 = command.query_async(&mut self.connection).await?;
        ensure!(usize::try_from(answer) == Ok(step), "the raw script answered {answer}");
        Ok(())
    }

    /// All of a run's steps at once, each by a script of its own.
    pub(crate) async fn fan(&self, run: &str, bodies: &[Vec<u8>]) -> Result<()> {
        let steps = bodies.iter().enumerate().map(|(step, body)| {
            let mut raw = self.clone();
            async move { raw.step(run, step, body).await }
        });
        try_join_all(steps).await?;
        Ok(())
    }

    pub(crate) async fn count(&mut self, run: &str) -> Result<u64> {
        let mut len = redis::cmd("XLEN");
        Ok(len.arg(format!("{{{run}}}:h")).query_async(&mut self.connection).await?)
    }

    /// Reads all of a run's bodies, page by page, and gives each away.
    pub(crate) async fn read(
        &mut self,
        run: &str,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut from = "-".to_owned();
        loop {
            let mut range = redis::cmd("XRANGE");
            range.arg(format!("{{{run}}}:h")).arg(&from).arg("+").arg("COUNT").arg(PAGE);
            let page: Vec<(String, Vec<Vec<u8>>)> = range.query_async(&mut self.connection).await?;
            for (_, fields) in &page {
                each(fields.get(3).context("an entry without a body")?)?;
            }
            match page.last() {
                Some((id, _)) if page.len() == PAGE => from = format!("({id}"),
                _ => return Ok(()),
            }
        }
    }
}
