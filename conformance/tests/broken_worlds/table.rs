//! The table of the broken Worlds in the documentation.

use std::{fmt::Write as _, fs, path::Path, sync::Arc};

use libtest_mimic::Failed;

use crate::catch::Broken;

const BLESS: &str = "WORLD_BLESS";

const HEAD: &str = "\
# Broken Worlds

A suite that passes everything proves nothing. So the suite is tried on Worlds that are wrong on
purpose: each is right but for one flaw, breaks one rule, and must be caught by a case that names
that rule, at any seed. The same World without a flaw passes. Some keep a journal in a file: what is
wrong with them shows only when their process is killed.

This page is written and compared by `cargo test -p conformance --test broken_worlds`
(`WORLD_BLESS=1` writes it anew); the Worlds are in
[`conformance/tests/broken_worlds`](../conformance/tests/broken_worlds).
";

/// Compares the page with what was caught, or writes it.
pub(crate) fn check(worlds: &[Arc<Broken>]) -> Result<(), Failed> {
    let page = page(worlds)?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/broken-worlds.md");
    if std::env::var_os(BLESS).is_some() {
        return fs::write(&path, page).map_err(Failed::from);
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    if stored == page {
        return Ok(());
    }
    let differs = |(old, new): &(&str, &str)| old != new;
    let line = stored.lines().zip(page.lines()).find(differs).map(|(_, new)| new);
    Err(Failed::from(format!(
        "docs/broken-worlds.md is stale; {BLESS}=1 writes it anew. The first line that differs \
         should be: {}",
        line.unwrap_or("(its end)")
    )))
}

fn page(worlds: &[Arc<Broken>]) -> Result<String, Failed> {
    let mut page = format!("{HEAD}\n{} broken Worlds, all of them caught.\n", worlds.len());
    let mut rule = None;
    for world in worlds {
        let flaw = &world.flaw;
        if rule.replace(flaw.rule) != Some(flaw.rule) {
            let (id, text) = (flaw.rule.id(), flaw.rule.text());
            let _ = write!(
                page,
                "\n## {id}: {text}\n\n| World | what is wrong | caught by |\n|---|---|---|\n"
            );
        }
        let caught = world.caught().map_err(|why| format!("{}: {why}", flaw.name))?;
        let _ = writeln!(page, "| `{}` | {} | `{}` |", flaw.name, flaw.what, caught.case);
    }
    Ok(page)
}
