//! A server that is killed at any moment while workers drive runs on it.
//!
//! `WORLD_KILLS` sets how often, `WORLD_SEED` when.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here fails the test")]
#![allow(clippy::print_stdout, reason = "the seed is shown")]

mod kit;
mod runs;

use std::{
    fs::{self, File},
    io,
    path::PathBuf,
    time::Instant,
};

use kit::{append, at, claim_of, committed, creator, owner, run, ticket};
use redis_servers::Private;
use runs::{
    Crew, nothing_lost, runtime, undisturbed, variable,
    workflows::{Trying, mix},
    world_at,
};
use world_core::{
    ErrorKind::{Regressed, Unavailable, Unknown},
    *,
};
use world_redis::RedisWorld;

/// How many runs are open at once, about.
const OPEN_MIN: u64 = 24;

/// The most of its file that a server forgets with a kill.
const FORGOTTEN_MAX: u64 = 4096;

/// The file that a server writes its commands to, below `appendonlydir` since Redis 7.
fn log_of_commands(server: &Private) -> PathBuf {
    let new = server.dir().join("appendonlydir/appendonly.aof.1.incr.aof");
    if new.exists() { new } else { server.dir().join("appendonly.aof") }
}

/// What each script's writes begin with in that file.
const BEGIN: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";

/// Cuts off what a machine that lost its power might have lost of a file that was synced a moment
/// before, from the beginning of a script's writes on; `least` bytes stay. A cut in the middle of a
/// command is another matter: Redis up to 8 leaves the beginning of the script in the file, and
/// takes it for a part of the next one when it is started once more.
fn forget(server: &Private, bytes: u64, least: u64) -> io::Result<()> {
    let path = log_of_commands(server);
    let all = fs::read(&path)?;
    let (least, most) = (least as usize, all.len().saturating_sub(bytes as usize));
    let kept = all.get(least..most).unwrap_or_default();
    let begin = kept.windows(BEGIN.len()).rposition(|window| window == BEGIN);
    let length = least + begin.unwrap_or_default();
    File::options().write(true).open(path)?.set_len(length.min(all.len()) as u64)
}

fn soak(name: &str, fsync: &str, is_forgetful: bool) {
    let (kills, seed) = (variable("WORLD_KILLS", 20), variable("WORLD_SEED", 1));
    let trying = Trying(format!("WORLD_SEED={seed} WORLD_KILLS={kills}"));
    let wanted = undisturbed();
    let mut server = Private::start(&[("appendfsync", fsync)]).unwrap();
    let url = format!("redis://{}?prefix={name}&response_timeout_ms=2000", server.address());
    let begin = Instant::now();
    runtime().block_on(async {
        let mut crew = Crew::new(world_at(&url)).await;
        let made = fs::metadata(log_of_commands(&server)).unwrap().len();
        for kill in 0..kills {
            let draw = mix(seed ^ mix(kill));
            let (before, open) = (crew.notes.count(), crew.open().await);
            crew.start(OPEN_MIN.saturating_sub(open)).await;
            if !draw.is_multiple_of(8) {
                crew.notes.more(before, (draw >> 32) as usize % 60).await;
            }
            tokio::task::block_in_place(|| {
                server.kill().unwrap();
                if is_forgetful {
                    forget(&server, mix(draw) % FORGOTTEN_MAX, made).unwrap();
                }
                server.restart().unwrap();
            });
        }
        let (killed, started) = (begin.elapsed(), crew.started());
        let notes = crew.finish(&wanted).await;
        notes.only(&[Unavailable, Unknown, Regressed]);
        if !is_forgetful {
            nothing_lost(&world_at(&url), &notes).await;
        }
        let count = notes.count();
        println!(
            "seed {seed}: {kills} kills in {killed:?}, ended in {:?}, {started} runs, {count} \
             acknowledged records, errors {:?}",
            begin.elapsed(),
            notes.errors()
        );
        assert!(count as u64 > kills, "too little happened");
    });
    drop(trying);
}

#[test]
fn a_server_that_syncs_always_may_be_killed_any_number_of_times() {
    soak("always", "always", false);
}

/// The runs end right although the server has forgotten what it had acknowledged.
#[test]
fn a_server_that_forgets_its_last_writes_may_be_killed_any_number_of_times() {
    soak("everysec", "everysec", true);
}

/// An owner goes on only from what it has seen of the store as it is, also if others have meanwhile
/// written as much as was forgotten.
#[test]
fn an_owner_that_has_seen_what_was_forgotten_is_told() {
    let mut server = Private::start(&[("appendfsync", "always")]).unwrap();
    let url = format!("redis://{}?clock_check=off", server.address());
    runtime().block_on(async {
        let world = RedisWorld::connect(&url).await.unwrap();
        let (log, until) = (run("r"), at(5000));
        let new = creator("q", Due::Now, Some((ticket(1), until)));
        assert_eq!(world.append(&log, &append(0, "0", new)).await.unwrap(), committed(1));
        let forgotten = append(1, "forgotten", owner(1, None));
        assert_eq!(world.append(&log, &forgotten).await.unwrap(), committed(2));
        server.kill().unwrap();
        forget(&server, 1, 0).unwrap();
        server.restart().unwrap();
        let other = RedisWorld::connect(&url).await.unwrap();
        let instead = append(1, "instead", By::Outsider);
        assert_eq!(other.append(&log, &instead).await.unwrap(), committed(2));

        // The connection may not be known to be broken yet.
        let next = append(2, "next", owner(1, None));
        let error = loop {
            let error = world.append(&log, &next).await.unwrap_err();
            if ![Unavailable, Unknown].contains(&error.kind()) {
                break error;
            }
        };
        assert_eq!(error.kind(), Regressed, "{error}");
        let error = world.claim(&claim_of("q", 2)).await.unwrap_err();
        assert_eq!(error.kind(), Regressed, "{error}");
        assert_eq!(world.claim(&claim_of("q", 2)).await.unwrap(), []);
        // It has the lease all the same; but a renewal in the middle of its work says nothing of it.
        let LogId::Run(id) = log.clone() else { unreachable!() };
        let head = Position::new(2);
        let lease = Lease { run: id, ticket: ticket(1), attempt: 1, until, head, closed: false };
        assert_eq!(world.renew(&lease, until).await.unwrap(), Renewed::Held { head });
        assert_eq!(world.append(&log, &next).await.unwrap_err().kind(), Regressed);
        // One that begins anew learns the head from which it goes on.
        let anew = Lease { head: Position::START, ..lease };
        assert_eq!(world.renew(&anew, until).await.unwrap(), Renewed::Held { head });
        assert_eq!(world.append(&log, &next).await.unwrap(), committed(3));
    });
}
