//! The suite on a real file.

use world_sqlite::{Options, SqliteWorld};

conformance::suite!(|site| async move {
    SqliteWorld::open(site.dir().join("world.db"), Options::default())
});
