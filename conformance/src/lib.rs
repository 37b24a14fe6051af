//! Proves that a World keeps its [contract](world_core::World): every rule, random histories of
//! many writers, crashes at every store call, faults, secrecy and durability, from one line.
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! ```no_run
//! // tests/conformance.rs
//! # mod my_world {
//! #     use world_core::MemoryWorld;
//! #     pub struct MyWorld;
//! #     impl MyWorld {
//! #         pub async fn open(_: &std::path::Path) -> world_core::Result<MemoryWorld> { Ok(MemoryWorld::new()) }
//! #     }
//! # }
//! # use my_world::MyWorld;
//! conformance::suite!(|site| async move { MyWorld::open(site.dir()).await });
//! ```

pub mod audit;
mod case;
mod cases;
mod claimer;
pub mod corpus;
mod factory;
mod failure;
mod flows;
mod golden;
mod interleave;
mod journal;
mod kit;
mod listing;
mod look;
pub mod model;
mod needs;
mod pace;
mod part;
mod report;
mod rule;
mod run;
pub mod server;
mod settings;
pub mod simulation;
mod site;
mod subject;
mod suite;
mod watch;

pub use case::{Case, Group};
pub use cases::cases;
pub use failure::{Cause, Failure, Verdict};
pub use report::{Entry, Report};
pub use rule::Rule;
pub use run::Outcome;
pub use settings::Settings;
pub use site::Site;
pub use subject::Subject;
pub use suite::Suite;

/// The whole test target of a World: its `main`, from a factory.
///
/// The factory takes a [`Site`] and gives a future of a `Result` with the World. The same site is
/// the same data; sites share nothing. Optional: `dump`, see [`Suite::dump`], and `needs`, see
/// [`Suite::needs`].
///
/// ```no_run
/// # use {std::sync::Mutex, world_core::MemoryWorld};
/// # async fn all_rows_of(_: &str) -> Result<Vec<u8>, String> { Ok(Vec::new()) }
/// # async fn connect(_: &str) -> Result<MemoryWorld, String> { Ok(MemoryWorld::new()) }
/// conformance::suite!(
///     |site| async move { connect(site.name()).await },
///     dump = |site| async move { all_rows_of(site.name()).await },
/// );
/// ```
///
/// The target needs `harness = false` in `Cargo.toml`; without it its only test fails and says so.
#[macro_export]
macro_rules! suite {
    ($open:expr $(, $option:ident = $value:expr)* $(,)?) => {
        fn main() -> ::std::process::ExitCode {
            let name = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_CRATE_NAME"));
            $crate::Suite::new(name, $open)
                .reports(option_env!("CARGO_TARGET_TMPDIR"))
                $(.$option($value))*
                .main()
        }

        #[test]
        fn this_target_needs_harness_false() {
            panic!(
                "no case was run: add `harness = false` to the [[test]] of this target in Cargo.toml"
            );
        }
    };
}
