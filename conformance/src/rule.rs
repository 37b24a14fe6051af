//! The rules of the contract, by their ids.

use std::fmt;

macro_rules! rules {
    ($($id:ident $text:literal)*) => {
        /// A rule of the contract: see the table on [`World`](world_core::World).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $(#[doc = $text] $id,)*
        }

        impl Rule {
            /// All of them, in the contract's order.
            pub const ALL: &[Self] = &[$(Self::$id,)*];

            /// Its id, as in the contract.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$id => stringify!($id),)* }
            }

            /// What it says, in a few words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$id => $text,)* }
            }
        }
    };
}

rules! {
    A1 "an append is all or nothing"
    A2 "an append commits only at the head it states"
    A3 "positions have no gaps"
    A4 "records, lease, due time and closing change together"
    A5 "a run that is absent, closed or deleted takes no record"
    A6 "the same bytes again are the same append"
    R1 "what was committed is seen by the next read"
    R2 "records never change"
    R3 "pages have no holes, lose nothing and repeat nothing"
    R4 "a listing has every run once"
    L1 "a due run goes to one claimer, and no lease twice"
    L2 "every due run is claimed, the oldest first"
    L3 "a replaced ticket changes nothing"
    L4 "an outsider wakes a run and leaves its lease alone"
    L5 "claims without progress are counted"
    L6 "a claim passes over what it excepts, and only that"
    T1 "token and stream logs take only what is theirs"
    D1 "only what is closed is deleted"
    D2 "a deleted id stays spent"
    B1 "the least limits are taken, and more is refused whole"
    I1 "names and bodies are opaque"
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
