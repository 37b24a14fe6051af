//! An order that survives `kill -9`, twice.
//!
//! `cargo run --example quickstart` starts itself as a child process that fulfils an order, kills it
//! in the middle of a step, starts it again, kills it again, and starts it a third time. Then it
//! looks into the log and counts what has really happened. It leaves nothing behind.

#![allow(clippy::print_stdout)] // it has something to say

use std::{
    collections::HashMap,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use world::{
    LogId,
    codec::decode_value,
    event::{Event, Logged},
    prelude::*,
    sqlite::Options,
};

// ---- the workflow: a plain async function ----

const FULFIL: Workflow<Order, Receipt> = Workflow::new("fulfil");

async fn fulfil(mut ctx: Ctx, shop: Shop, order: Order) -> anyhow::Result<Receipt> {
    let shelf = ctx.step("reserve", async || shop.reserve(&order).await).await?;
    let payment = ctx
        .step_with("charge", async |at: Attempt| shop.charge(&order, at.idempotency_key()).await)
        .retry(Retry::exponential(5))
        .timeout(MINUTE)
        .await?;
    ctx.sleep(SECOND * 2).await?; // durable: it could be a month
    let parcel = ctx.step("ship", async || shop.ship(&order, &shelf).await).await?;
    ctx.step("email", async || shop.email(&order, &parcel).await).await?;
    Ok(Receipt { payment, parcel, sent: ctx.now() })
}

/// The steps, in order.
const STEPS: [&str; 4] = ["reserve", "charge", "ship", "email"];

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    item: String,
    cents: u64,
    email: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Payment {
    cents: u64,
    payer: String,
    idempotency_key: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    payment: Payment,
    parcel: String,
    sent: Timestamp,
}

// ---- the child: one life of the program; it does not know whether it is the first ----

#[tokio::main]
async fn live(hold: String) -> anyhow::Result<()> {
    let shop = Shop { hold };
    let engine = Engine::builder(world::connect("sqlite://runs.db").await?)
        .key(Key::from_file("world.key")?)
        .workflow(FULFIL, move |ctx, order| fulfil(ctx, shop.clone(), order))
        .lease(LEASE)
        .build()?;
    let worker = engine.spawn_worker();
    // The id is the idempotency key: started again, it is the same run.
    let run = engine.client().start(FULFIL, ada()).id("order-7").await?;
    let receipt = run.output().await?;
    worker.shutdown().await;
    println!("{} was sent at {}", receipt.parcel, receipt.sent);
    Ok(())
}

/// How long a worker may be silent before another one takes its runs: the least there is, so that
/// a restart goes on after a second. The default is 15 s.
const LEASE: Duration = SECOND;

fn ada() -> Order {
    Order { item: "one difference engine".into(), cents: 4_200, email: "ada@example.org".into() }
}

/// The world outside. Whatever is done to it stands in a ledger, which no kill takes back.
#[derive(Clone)]
struct Shop {
    /// The step in the middle of which this life stops and waits to be killed.
    hold: String,
}

impl Shop {
    async fn reserve(&self, order: &Order) -> io::Result<String> {
        self.work("reserve", format!("{} from shelf 3", order.item)).await
    }

    async fn charge(&self, order: &Order, idempotency_key: String) -> io::Result<Payment> {
        let payment = Payment { cents: order.cents, payer: order.email.clone(), idempotency_key };
        self.work("charge", payment).await
    }

    async fn ship(&self, order: &Order, shelf: &str) -> io::Result<String> {
        self.work("ship", format!("a parcel with {shelf} to {}", order.email)).await
    }

    async fn email(&self, order: &Order, parcel: &str) -> io::Result<usize> {
        self.work("email", format!("To: {}\n\nSent: {parcel}", order.email).len()).await
    }

    async fn work<T>(&self, step: &str, result: T) -> io::Result<T> {
        note("begin", step)?;
        println!("begin {step}"); // to the parent
        if self.hold == step {
            std::future::pending::<()>().await; // nothing in this process will ever end it
        }
        note("finish", step)?;
        Ok(result)
    }
}

fn note(what: &str, step: &str) -> io::Result<()> {
    let line = format!("{what} {step} {}\n", process::id());
    fs::OpenOptions::new().append(true).create(true).open("ledger")?.write_all(line.as_bytes())
}

// ---- the parent: starts, kills, and looks ----

fn main() -> anyhow::Result<()> {
    if let Ok(hold) = env::var(CHILD) {
        thread::spawn(leave_with_the_parent);
        return live(hold);
    }
    let folder = tempfile::tempdir()?; // removed when it is dropped, so after an error too
    Key::create_file(folder.path().join("world.key"))?;

    let mut lives = Vec::new();
    for hold in ["charge", "ship", ""] {
        lives.push(start_and_kill(folder.path(), lives.len() + 1, hold)?);
    }
    look(folder.path(), &lives)?;

    folder.close()?;
    println!("\nevery finished step ran exactly once");
    Ok(())
}

/// The variable that makes this program the child, and says in which step it is to be killed.
const CHILD: &str = "QUICKSTART_HOLD";

/// The longest silence of a child before the example gives up.
const SILENCE_MAX: Duration = MINUTE;

/// One life: killed once the body of `hold` has begun, or else to its end. Returns its process id.
fn start_and_kill(folder: &Path, number: usize, hold: &str) -> anyhow::Result<u32> {
    let child = Command::new(env::current_exe()?)
        .current_dir(folder)
        .env(CHILD, hold)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut child = Reaped(child);
    let pid = child.0.id();
    match number {
        1 => println!("process {number} (pid {pid}) takes the order"),
        _ => println!(
            "process {number} (pid {pid}) starts the same order again; it goes on when the dead \
             worker's lease of {LEASE:?} is over"
        ),
    }

    let lines = lines_of(child.0.stdout.take().context("a child without a pipe")?);
    loop {
        let line = match lines.recv_timeout(SILENCE_MAX) {
            Ok(line) => line,
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("nothing from the child in a minute"),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.0.wait()?;
                ensure!(hold.is_empty(), "the child ended before {hold}: {status}");
                ensure!(status.success(), "the child failed: {status}");
                return Ok(pid);
            }
        };
        match line.strip_prefix("begin ") {
            Some(step) if step == hold => {
                println!("    {step:<8} begins … kill -9, in the middle of it\n");
                child.0.kill()?; // SIGKILL: nothing is flushed, dropped or handed over
                ensure!(!child.0.wait()?.success(), "the child was not killed");
                return Ok(pid);
            }
            Some(step) => println!("    {step:<8} runs"),
            None => println!("    {line}"),
        }
    }
}

/// What is really there, against what should be.
#[tokio::main]
async fn look(folder: &Path, lives: &[u32]) -> anyhow::Result<()> {
    let ledger = fs::read_to_string(folder.join("ledger"))?;
    show_who_ran_what(&ledger, lives)?;

    let world = Arc::new(SqliteWorld::open(folder.join("runs.db"), Options::new())?);
    let key = Key::from_file(folder.join("world.key"))?;
    let engine = Engine::builder(Arc::clone(&world)).key(key).build()?;
    let run = engine.client().run(FULFIL, "order-7")?;
    let log = run.log().await?;
    println!("\nThe event log of order-7");
    for logged in &log {
        println!("    {}", described(logged));
    }
    let completed: Vec<_> = log
        .iter()
        .filter(|logged| matches!(logged.event, Event::StepCompleted { .. }))
        .filter_map(|logged| Some(logged.event.key()?.as_str()))
        .collect();
    ensure!(completed == STEPS, "the log says that these steps finished: {completed:?}");

    // The same record as the store has it, read past the engine.
    let stored = world.read_all(&LogId::Run(run.id().clone())).await?;
    let is_payment =
        |logged: &&Logged| logged.event.key().is_some_and(|key| key.as_str() == "charge");
    let logged = log.iter().find(is_payment).context("no payment in the log")?;
    let record = stored.records.iter().find(|record| record.position == logged.position);
    let sealed = record.context("no payment in the store")?.body.as_bytes();
    let Event::StepCompleted { result, .. } = &logged.event else { bail!("charge failed") };
    let payment: Payment = decode_value(result)?;
    show_sealed(folder, sealed, &payment)
}

/// Which process ran which step, by the ledger.
fn show_who_ran_what(ledger: &str, lives: &[u32]) -> anyhow::Result<()> {
    let mut seen: HashMap<(&str, u32, &str), usize> = HashMap::new();
    for line in ledger.lines() {
        let mut words = line.split(' ');
        let (Some(what), Some(step), Some(pid)) = (words.next(), words.next(), words.next()) else {
            bail!("a broken line in the ledger: {line:?}");
        };
        *seen.entry((step, pid.parse()?, what)).or_default() += 1;
    }
    let count = |step, pid, what| seen.get(&(step, pid, what)).copied().unwrap_or(0);

    println!("\nWhat ran where, by the ledger of the world outside");
    let heads: Vec<_> =
        (1..).zip(lives).map(|(n, pid)| format!("process {n} (pid {pid})")).collect();
    println!("    {:<10}{:<24}{:<24}{}", "step", heads[0], heads[1], heads[2]);
    for step in STEPS {
        print!("    {step:<10}");
        let mut is_finished = false;
        for pid in lives {
            let did = match (count(step, *pid, "begin"), count(step, *pid, "finish")) {
                (0, 0) if is_finished => "taken from the log",
                (0, 0) => "-",
                (1, 0) => "killed in the middle",
                (1, 1) => "ran",
                (begun, done) => bail!("{step} began {begun} and finished {done} times in {pid}"),
            };
            is_finished |= did == "ran";
            print!("{did:<24}");
        }
        let finished: usize = lives.iter().map(|pid| count(step, *pid, "finish")).sum();
        println!("finished {finished}×");
        ensure!(finished == 1, "{step} finished {finished} times");
    }
    Ok(())
}

/// One line of the log.
fn described(logged: &Logged) -> String {
    let (id, at, kind) = (world::EventId(logged.position), logged.at, logged.event.kind());
    let about = match &logged.event {
        Event::RunCreated { workflow, version, .. } => format!("{workflow} v{version}"),
        Event::TimerSet { key, at } => format!("{key} until {at}"),
        event => event.key().map(ToString::to_string).unwrap_or_default(),
    };
    format!("{id}  {at}  {:<15} {about}", kind.to_string()).trim_end().to_owned()
}

/// The bytes on the disk, where they stand, and what they hold.
fn show_sealed(folder: &Path, sealed: &[u8], payment: &Payment) -> anyhow::Result<()> {
    let mut found = None;
    for file in files(folder, "runs.db")? {
        let bytes = fs::read(&file)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(
            place_of(&bytes, b"ada@example.org").is_none(),
            "{name} holds the address in clear"
        );
        found = found.or_else(|| Some((name, place_of(&bytes, sealed)?)));
    }
    let (name, at) = found.context("the record is in no file")?;
    println!(
        "\nWhat charge returned, as it lies in {name} from byte {at} on ({} bytes)",
        sealed.len()
    );
    for row in sealed.chunks(16) {
        let hex: Vec<_> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '.' };
        println!("    {:<47}  {}", hex.join(" "), row.iter().map(shown).collect::<String>());
    }
    println!("\nand what it opens to, with the key\n    {payment:?}");
    println!("\nada@example.org, the customer's address, stands nowhere in the file in clear");
    Ok(())
}

// ---- odds and ends ----

/// A child that is killed and waited for, whatever happens.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may have ended
        let _ = self.0.wait();
    }
}

/// Ends the child when the parent's end of the pipe closes, so that none is left behind.
fn leave_with_the_parent() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    process::exit(1);
}

fn lines_of(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    receive
}

fn files(folder: &Path, prefix: &str) -> io::Result<Vec<PathBuf>> {
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    });
    Ok(paths)
}

fn place_of(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}
