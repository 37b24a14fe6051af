//! The suite as the author of a World has it: a test target that cargo and nextest run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failure here fails the test")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use conformance::{Case, Group, Rule, cases};

/// The name of a case of this rule that any World passes.
fn case_of(rule: Rule) -> String {
    let of_rule = |case: &Case| case.group() == Group::Contract && case.rules().contains(&rule);
    cases().into_iter().find(of_rule).unwrap().name().to_owned()
}

/// The author's package, a workspace of its own beside the target directory.
fn package() -> &'static Path {
    static PACKAGE: OnceLock<PathBuf> = OnceLock::new();
    PACKAGE.get_or_init(|| {
        let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = crate_dir.parent().unwrap();
        let from = crate_dir.join("tests/fixtures/author");
        let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("author");
        fs::create_dir_all(to.join("tests")).unwrap();
        let manifest = fs::read_to_string(from.join("Cargo.toml.in")).unwrap();
        let manifest = manifest.replace("{root}", root.to_str().unwrap());
        put(&to.join("Cargo.toml"), manifest.as_bytes());
        put(&to.join("Cargo.lock"), &fs::read(root.join("Cargo.lock")).unwrap());
        put(&to.join("lib.rs"), &fs::read(from.join("lib.rs")).unwrap());
        for test in fs::read_dir(from.join("tests")).unwrap() {
            let test = test.unwrap();
            put(&to.join("tests").join(test.file_name()), &fs::read(test.path()).unwrap());
        }
        to
    })
}

/// Writes what is not there already, so that nothing is built twice.
fn put(path: &Path, bytes: &[u8]) {
    if fs::read(path).ok().as_deref() != Some(bytes) {
        fs::write(path, bytes).unwrap();
    }
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    // The dependencies are those of this run, so they are built already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    command.current_dir(package()).args(arguments).env("CARGO_TARGET_DIR", target);
    for (name, _) in env::vars() {
        if name.starts_with("CONFORMANCE_") || name.starts_with("NEXTEST") {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Runs a test target with arguments of its own; gives whether it passed, and all it said.
fn test(target: &str, arguments: &[&str], variables: &[(&str, &str)]) -> (bool, String) {
    let all = [&["test", "--offline", "--test", target, "--"], arguments].concat();
    told(&cargo(&all, variables))
}

fn told(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_right_world_passes_and_is_reported_again_later() {
    let (passed, text) = test("right", &["contract::a2"], &[]);
    assert!(passed && text.contains("author right"), "{text}");
    let (passed, again) = test("right", &["--report"], &[]);
    assert!(passed && again.contains("author right") && again.contains("contract "), "{again}");
    let line = |text: &str| text.lines().find(|line| line.starts_with("all ")).map(str::to_owned);
    assert_eq!(line(&text), line(&again));
}

#[test]
fn a_broken_world_fails_the_run_and_names_case_and_rule() {
    let (passed, text) = test("broken", &["contract::a2"], &[]);
    assert!(!passed && text.contains("FAILED"), "{text}");
    assert!(text.contains("rule A") && text.contains("is broken"), "{text}");
}

#[test]
fn without_harness_false_a_test_fails_and_says_so() {
    let (passed, text) = test("forgotten", &[], &[]);
    assert!(!passed && text.contains("add `harness = false`"), "{text}");
}

#[test]
fn what_is_missing_fails_every_case_unless_it_is_to_be_ignored() {
    let (passed, text) = test("missing", &["contract::a2"], &[]);
    assert!(!passed && text.contains("start some-server, or set SOME_URL"), "{text}");
    assert!(text.contains(" 0 passed"), "{text}");
    let ignore = [("CONFORMANCE_IGNORE_MISSING", "1")];
    let (passed, text) = test("missing", &["contract::a2"], &ignore);
    assert!(passed && text.contains("start some-server, or set SOME_URL"), "{text}");
    assert!(text.contains("NOTHING IS PROVEN") && text.contains("rules proven: 0 of"), "{text}");
}

#[test]
fn a_world_that_keeps_its_thread_lets_the_process_end() {
    let bound = [("CONFORMANCE_CALL_BOUND", "1")];
    let (passed, text) = test("hangs", &[&case_of(Rule::A2), "--exact"], &bound);
    assert!(!passed && text.contains("the factory has not answered for "), "{text}");
}

#[test]
fn a_variable_that_is_no_number_is_named() {
    let (passed, text) = test("right", &["contract::a2"], &[("CONFORMANCE_SEED", "many")]);
    assert!(!passed && text.contains("CONFORMANCE_SEED is \"many\""), "{text}");
}

/// The calls that nextest makes of any harness.
#[test]
fn nextest_lists_and_then_runs_a_process_a_case() {
    let (one, other) = (case_of(Rule::A2), case_of(Rule::A1));
    let (passed, text) = test("right", &["--list", "--format", "terse"], &[]);
    assert!(passed && text.lines().any(|line| line == format!("{one}: test")), "{text}");
    let (passed, text) = test("right", &["--list", "--format", "terse", "--ignored"], &[]);
    assert!(passed && !text.contains(": test"), "{text}");
    let run = format!("as-a-program-{}", std::process::id());
    let variables = [("NEXTEST_RUN_ID", &*run)];
    for case in [&*one, &*other] {
        let (passed, text) = test("right", &[case, "--exact", "--nocapture"], &variables);
        assert!(passed && text.contains(" 1 passed"), "{text}");
    }
    let reports = package().parent().unwrap().join("conformance/author-right");
    let lines = fs::read_to_string(reports.join(format!("{run}.jsonl"))).unwrap();
    assert!(lines.contains(&one) && lines.contains(&other), "{lines}");
    assert_eq!(lines.lines().count(), 2, "{lines}");
}

#[test]
fn nextest_itself_runs_it_where_it_is_installed() {
    if !cargo(&["nextest", "--version"], &[]).status.success() {
        println!("nextest is not installed");
        return;
    }
    let run = ["nextest", "run", "--offline", "--test", "right", "contract::a2"];
    let (passed, text) = told(&cargo(&run, &[]));
    assert!(passed && text.contains(&case_of(Rule::A2)), "{text}");
    let run = ["nextest", "run", "--offline", "--test", "missing", "contract::a2"];
    let (passed, text) = told(&cargo(&run, &[]));
    assert!(!passed && text.contains("start some-server"), "{text}");
}
