//! Deliberately broken Worlds, each of which the suite must catch by the very rule it breaks.
//!
//! `WORLD_BLESS=1` writes `docs/broken-worlds.md` anew.

mod base;
mod catch;
mod flaw;
mod flaws;
mod heads;
mod journal;
mod logs;
mod on_file;
mod table;

use std::{process::ExitCode, sync::Arc};

use libtest_mimic::{Arguments, Failed, Trial};

use catch::Broken;

fn main() -> ExitCode {
    let flaws = flaws::flaws();
    if let Some(played) = catch::played(&flaws) {
        return ExitCode::from(u8::try_from(played).unwrap_or(1)); // as a second process
    }
    let arguments = Arguments::from_args();
    let worlds: Vec<_> = flaws.into_iter().map(Broken::new).map(Arc::new).collect();
    let mut trials = catch::control();
    trials.extend(worlds.iter().map(|world| {
        let world = Arc::clone(world);
        let name = format!("broken::{}::{}", world.flaw.rule.id().to_lowercase(), world.flaw.name);
        Trial::test(name, move || match world.caught() {
            Ok(_) => Ok(()),
            Err(why) => Err(Failed::from(why)),
        })
    }));
    let all = worlds.clone();
    trials.push(Trial::test("the_table_in_docs_is_current", move || table::check(&all)));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        catch::print(&worlds);
    }
    conclusion.exit_code()
}
