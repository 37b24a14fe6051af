//! Names that something takes for each other, for none, or for something else.

use world_core::{Append, LogId};

use crate::{
    failure::{Failure, Verdict, ensure_eq},
    kit::*,
    look::{Handle, is_refusal},
    rule::Rule,
};

#[rustfmt::skip]
const SHORT: &[&str] = &[
    // Case, space and control characters.
    "a", "A", "b", "ab", "Ab", "a ", " a", "a  ", "\ta", "a\n", "a\r\n", "\n", " ",
    "a\0", "a\0b", "\0", "\0\0", "\0a", "a\u{1}", "\u{7f}", "a\u{1f}b",
    // Letters that a collation or a normal form takes for others, and such as are not seen.
    "é", "e\u{301}", "É", "e", "ß", "ss", "SS", "ı", "i", "I", "İ", "ﬁ", "fi", "Å", "A\u{30a}",
    "ａ", "\u{feff}a", "\u{200b}a", "a\u{200b}", "a\u{ad}", "\u{202e}a", "\u{ffff}",
    "😀", "😀😀", "👩‍🚀", "👩", "\u{10ffff}",
    // Quotes, escapes, patterns, separators, paths.
    "'", "''", "\"", "`", "a'--", "'; DROP", "\\", "\\\\", "\\0", "\\u0000", "%00",
    "%", "a%", "%a", "_", "a_", "__", "*", "a*", "?", "[a]", "[", "]", "{a}", "{b}", "{", "}", "{}",
    ":", "a:", ":a", "a:b", "a::b", "/", "a/", "a/b", "//", ".", "..", "../a", "a.b", "|", "a|b",
    "#", "a#b", "$", "$a", ",", "a,b", ";", "~", "-", "+", "=", "&", "<a>", "@", "!", "(", ")",
    // Numbers, words of a query, words of a store.
    "0", "1", "01", "1.0", "1e0", "-1", "+1", "null", "NULL", "nil", "true", "undefined", "NaN",
    "run", "runs", "stream", "token", "head", "queue", "wrun_", "WRUN_",
];

/// Every strange name, the longest too.
pub(super) fn names() -> Vec<String> {
    let mut names: Vec<_> = SHORT.iter().map(|name| (*name).to_owned()).collect();
    names.extend([255, 256, 511, 512].map(|length| "x".repeat(length)));
    names.push("x".repeat(511) + "y");
    names.push("y".to_owned() + &"x".repeat(511));
    names.push("😀".repeat(128));
    names.push("😀".repeat(127) + "😁");
    names.push("\0".repeat(512));
    names
}

/// Whether a World must take a name: others it may refuse.
fn is_plain(name: &str) -> bool {
    name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a first append is taken; a strange name may be refused. Any other answer says that
/// the log was there already.
pub(super) async fn is_taken(
    world: &Handle,
    log: &LogId,
    name: &str,
    append: &Append,
) -> Verdict<bool> {
    match world.append(log, append).await {
        Ok(answer) => {
            let wanted = committed(append.head_after().get());
            ensure_eq!(I1, answer, wanted, "the first append to {log}, a name not used before");
            Ok(true)
        }
        Err(error) if is_refusal(error.kind()) && !is_plain(name) => Ok(false),
        Err(error) if is_refusal(error.kind()) => {
            let what = format!("the first append to {log}, a plain name, is refused: {error}");
            Err(Failure::broken(Rule::I1, what))
        }
        Err(error) => Err(error.into()),
    }
}
