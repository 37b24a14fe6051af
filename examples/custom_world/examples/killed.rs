//! A run on the World of this package that outlives its process.
//!
//! `cargo run -p custom_world --example killed` starts itself as a child, which aborts in the
//! middle of the second step. Then it starts the child again, and the run goes on from there.

#![allow(clippy::print_stdout, reason = "it has something to say")]

use std::{env, path::Path, process::Command, time::Duration};

use anyhow::ensure;
use world_core::{Ctx, Engine, Workflow, seal::Key};

const BAKE: Workflow<String, String> = Workflow::new("bake");

async fn bake(mut ctx: Ctx, cake: String) -> anyhow::Result<String> {
    let dough = ctx.step("mix", async || work("mix", format!("dough for {cake}"))).await?;
    let baked = ctx.step("bake", async || work("bake", format!("{dough}, baked"))).await?;
    Ok(ctx.step("ice", async || work("ice", format!("{baked}, iced"))).await?)
}

fn work(step: &str, result: String) -> std::io::Result<String> {
    println!("    {step}");
    if env::var(CHILD).as_deref() == Ok(step) {
        std::process::abort(); // nothing is flushed, dropped or handed over
    }
    Ok(result)
}

/// The variable that makes this program the child, and names the step in which it aborts.
const CHILD: &str = "KILLED_IN";

#[tokio::main]
async fn live() -> anyhow::Result<()> {
    let engine = Engine::builder(custom_world::open("runs.redb")?)
        .key(Key::from_file("key")?)
        .workflow(BAKE, bake)
        .lease(Duration::from_secs(1))
        .build()?;
    let worker = engine.spawn_worker();
    // The id is the idempotency key: started again, it is the same run.
    let run = engine.client().start(BAKE, "a birthday".to_owned()).id("cake-1").await?;
    println!("    = {}", run.output().await?);
    worker.shutdown().await;
    Ok(())
}

fn main() -> anyhow::Result<()> {
    if env::var(CHILD).is_ok() {
        return live();
    }
    let folder = tempfile::tempdir()?;
    Key::create_file(folder.path().join("key"))?;
    println!("a process that aborts in the middle of \"bake\"");
    ensure!(!child(folder.path(), "bake")?, "it should not have come through");
    println!("another, a second later");
    ensure!(child(folder.path(), "")?, "it should have come through");
    println!("mix ran once: its result came from the log");
    Ok(())
}

fn child(folder: &Path, step: &str) -> anyhow::Result<bool> {
    let mut child = Command::new(env::current_exe()?);
    Ok(child.current_dir(folder).env(CHILD, step).status()?.success())
}
