//! Every rule of the contract, and what follows from them.

conformance::suite!(|site| async move { custom_world::open(site.dir().join("world.redb")) });
