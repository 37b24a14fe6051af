//! Every case runs at a tiny size, and prints the line that it should. No figure is asserted.

#![allow(clippy::unwrap_used, reason = "a failure is what a test is for")]

use std::process::Command;

use serde_json::Value;

/// Runs the binary, and reads its one line.
fn line(flags: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(flags)
        .args(["--pairs", "2", "--dir"])
        .arg(dir.path())
        .output()
        .unwrap();
    let (out, errors) =
        (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{flags:?}: {errors}");
    assert_eq!(out.lines().count(), 1, "{out}");
    serde_json::from_str(&out).unwrap()
}

/// What a store that is paid by the request says besides.
const COST: [&str; 3] = ["requests_per_step", "write_units_per_step", "read_units_per_step"];

/// The line has the peers' fields and ours, and says what was asked for.
fn check(line: &Value, peer: &str, case: &str, n: u64, extra: &[&str]) {
    let cost: &[_] = if peer.contains("dynamo") { &COST } else { &[] };
    let extra = [extra, cost].concat();
    assert_eq!((&line["peer"], &line["case"]), (&Value::from(peer), &Value::from(case)));
    assert_eq!((&line["n"], &line["pairs"]), (&Value::from(n), &Value::from(2)));
    let always = [
        "wall_ms",
        "per_step_us",
        "peak_rss_mb",
        "cpu_ms",
        "load1",
        "limit_us",
        "limit_bytes",
        "ratio",
        "ratio_min",
        "ratio_max",
        "overhead_us",
        "overhead_min_us",
        "overhead_max_us",
    ];
    for field in always.iter().chain(&extra) {
        assert!(line[field].is_number(), "{field} is missing in {line}");
    }
    let known = ["peer", "case", "n", "pairs"].len() + always.len() + extra.len();
    assert_eq!(line.as_object().unwrap().len(), known, "{line}");
    assert!(line["limit_bytes"].as_f64().unwrap() > 16.0, "{line}");
}

const WORLDS: [(&[&str], &str); 6] = [
    (&["--world", "memory"], "world-memory"),
    (&["--world", "sqlite", "--sync", "normal"], "world-sqlite-normal"),
    (&["--world", "sqlite", "--sync", "full"], "world-sqlite-full"),
    (&["--world", "redis"], "world-redis-everysec"),
    (&["--world", "redis", "--aof", "always"], "world-redis-always"),
    (&["--world", "dynamo"], "world-dynamo"),
];

/// Whether there is a Redis server to start: the World on Redis is left out where there is none.
fn has_redis() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&paths)
        .any(|dir| ["redis-server", "valkey-server"].iter().any(|name| dir.join(name).is_file()));
    std::env::var_os("TEST_REDIS_SERVER").is_some_and(|name| !name.is_empty()) || installed
}

fn on_every_world(flags: &[&str], case: &str, n: u64, extra: &[&str]) {
    for (world, peer) in WORLDS {
        if peer.contains("redis") && !has_redis() {
            continue;
        }
        check(&line(&[flags, world].concat()), peer, case, n, extra);
    }
}

#[test]
fn w1_is_a_sequence() {
    on_every_world(&["--case", "w1", "--n", "5"], "w1", 5, &[]);
}

#[test]
fn w2_is_a_fan_with_a_batch_beside_it() {
    on_every_world(&["--case", "w2", "--n", "7"], "w2", 7, &["limit_batch_us"]);
}

#[test]
fn w3_is_many_runs_with_their_rates() {
    let flags = ["--case", "w3", "--n", "6", "--m", "2"];
    on_every_world(&flags, "w3x2", 6, &["runs_per_s", "steps_per_s"]);
}

#[test]
fn w4_is_long_results() {
    on_every_world(&["--case", "w4", "--n", "3", "--bytes", "5000"], "w4b5000", 3, &[]);
}

#[test]
fn w4_says_which_text_it_writes() {
    let flags = ["--case", "w4", "--n", "3", "--bytes", "5000", "--text", "compressible"];
    let compressible = line(&flags);
    check(&compressible, "world-memory", "w4b5000-compressible", 3, &[]);
    assert_eq!(compressible["limit_bytes"], 5000.0, "its limit writes it as it is");
    let random = line(&["--case", "w4", "--n", "3", "--bytes", "5000"]);
    let stored = random["limit_bytes"].as_f64().unwrap();
    assert!((4000.0..=5200.0).contains(&stored), "random text hardly compresses: {random}");
}

#[test]
fn w5_resumes_and_runs_no_body_again() {
    on_every_world(&["--case", "w5", "--n", "4"], "w5", 4, &["open_ms", "body_end_ms"]);
}

#[test]
fn a_server_that_is_far_away_takes_longer_for_both() {
    let away = line(&["--world", "dynamo", "--away-ms", "40", "--n", "3"]);
    assert_eq!(away["peer"], "world-dynamo-away40ms");
    let figure = |name: &str| away[name].as_f64().unwrap();
    assert!(figure("limit_us") >= 40_000.0, "{away}");
    assert!(figure("per_step_us") >= 40_000.0, "{away}");
}

#[test]
fn who_we_are_says_how_we_were_set() {
    let flags = ["--residency", "replay", "--cache", "off", "--threads", "one", "--n", "4"];
    check(&line(&flags), "world-memory-replay-uncached-1thread", "w1", 4, &[]);
}

/// Somebody else's tables are left alone, and no table of ours is left there.
#[test]
fn a_dynamodb_server_that_is_given_is_left_as_it_was() {
    let server = dynamodb_servers::Private::start().unwrap();
    let (endpoint, runtime) = (server.endpoint(), tokio::runtime::Runtime::new().unwrap());
    let tables = || {
        let tables = dynamodb_servers::client(&endpoint).list_tables().send();
        runtime.block_on(tables).unwrap().table_names.unwrap_or_default()
    };
    let client = dynamodb_servers::client(&endpoint);
    let options = world_dynamo::Options::new();
    runtime.block_on(world_dynamo::DynamoWorld::create_table(&client, "theirs", options)).unwrap();
    let given = line(&["--world", "dynamo", "--dynamo", &endpoint, "--n", "3"]);
    check(&given, "world-dynamo-given", "w1", 3, &[]);
    let flags = ["--world", "dynamo", "--dynamo", &endpoint, "--case", "w5", "--n", "3"];
    check(&line(&flags), "world-dynamo-given", "w5", 3, &["open_ms", "body_end_ms"]);
    assert_eq!(tables(), ["theirs"]);
}

#[test]
fn what_a_step_costs_is_what_the_server_says() {
    let line = line(&["--world", "dynamo", "--n", "10"]);
    let cost = COST.map(|field| line[field].as_f64().unwrap());
    // Each step is a write of less than 1 KB; the run's beginning and its end are two more.
    assert!(cost[0] >= 1.2 && cost[1] >= 1.2, "{line}");
}

#[test]
fn the_suite_prints_a_table_of_every_case() {
    // Without it the suite would leave a World out.
    dynamodb_servers::server_program().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let lines = dir.path().join("lines.jsonl");
    let done = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["suite", "--quick", "--pairs", "1", "--case", "w1", "--case", "w3", "--dir"])
        .arg(dir.path())
        .arg("--lines")
        .arg(&lines)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let table = String::from_utf8(done.stdout).unwrap();
    for expected in ["### w1", "### w3", "| w1 | 100 | world-sqlite-full |", "steps/s"] {
        assert!(table.contains(expected), "{expected} is missing in\n{table}");
    }
    let lines = std::fs::read_to_string(lines).unwrap();
    // w1 twice on every World and twice replayed, w3 on every World; Redis has three settings.
    let worlds = if has_redis() { 7 } else { 4 };
    assert_eq!(lines.lines().count(), 2 * (worlds + 2) + worlds, "{lines}");
}

/// A library that prints a log line, then its figures; and one that fails.
#[cfg(unix)]
#[test]
fn the_suite_puts_peers_beside_us_and_names_those_that_fail() {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let peers = dir.path().join("peers");
    std::fs::create_dir(&peers).unwrap();
    let line = r#"{"peer":"durare","case":"w5","n":1,"wall_ms":4.5,"per_step_us":4500,"peak_rss_mb":8,"cpu_ms":3,"load1":0.5,"open_ms":1.25}"#;
    for (name, script) in [
        ("peer-durare", format!("#!/bin/sh\necho 'INFO opened'\necho '{line}'\n")),
        ("peer-limits", "#!/bin/sh\nexit 3\n".to_owned()),
    ] {
        let path = peers.join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let done = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["suite", "--quick", "--pairs", "1", "--case", "w2", "--peers"])
        .arg(&peers)
        .arg("--dir")
        .arg(dir.path())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let table = String::from_utf8(done.stdout).unwrap();
    assert!(
        table.contains("| durare | 4.50 | 4500 | – | – | 3.00 | 8.00 | open after 1.25 ms |"),
        "{table}"
    );
    assert!(table.contains("sqlite-full did not end w2 n=50"), "{table}");
}
